"""The imap and pop3 roles as processes, with an account whose mail both see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holub import Holub


@pytest.fixture(scope="module")
def holub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holub]:
    """Two gateways over the embedded backends."""
    folder: Path = tmp_path_factory.mktemp("pop3")
    holub = Holub(folder, {"HOLUB_AUTH_FAILURE_SECONDS": "0.1"})
    holub.prepare(*(f"user{n}" for n in range(30)))
    holub.start("imap", "pop3")
    yield holub
    holub.kill()
