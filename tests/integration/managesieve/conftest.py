"""The managesieve role as a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holub import Holub


@pytest.fixture(scope="module")
def holub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holub]:
    """One gateway over the embedded backends."""
    folder: Path = tmp_path_factory.mktemp("managesieve")
    holub = Holub(folder, {"HOLUB_AUTH_FAILURE_SECONDS": "0.1"})
    holub.prepare(*(f"user{n}" for n in range(12)))
    holub.start("managesieve")
    yield holub
    holub.kill()
