"""What is announced works: each capability names a test (rule 14)."""

from __future__ import annotations

import ast
from pathlib import Path

from services.imap.extensions import CAPABILITIES

_HERE = Path(__file__).parent


def _tests() -> set[str]:
    return {
        f"{path.name}::{node.name}"
        for path in _HERE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_capability_names_a_test_that_exists() -> None:
    found = _tests()

    assert [c.name for c in CAPABILITIES if c.test not in found] == []
