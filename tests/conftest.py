"""What all tests share: the corpus of real messages and the servers that tests start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

if (ROOT / "tests" / "servers" / "fixtures.py").exists():
    pytest_plugins = ["tests.servers.fixtures"]


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of real, broken, wanted and unwanted messages: messages, ham, spam, bounces."""
    folder = Path(os.environ.get("HOLUB_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus of messages at {folder} (set HOLUB_CORPUS to a folder of them)")
    return folder


@pytest.fixture(scope="session")
def vectors() -> Path:
    """A folder of test suites: spf-rfc7208-tests.yml, arc-validation-tests.yml, ..."""
    folder = Path(os.environ.get("HOLUB_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not folder.is_dir():
        pytest.skip(f"no test vectors at {folder} (set HOLUB_VECTORS to a folder of them)")
    return folder
