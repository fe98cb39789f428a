"""One embedded platform for all tests of this folder, with two accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holub import Holub


@pytest.fixture(scope="session")
def holub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holub]:
    folder: Path = tmp_path_factory.mktemp("clients")
    holub = Holub(folder)
    holub.prepare("alice", "bob", "carol", "dave", "erin")
    holub.start("all", env={"HOLUB_INGRESS_MAX_MESSAGE_OCTETS": "2000000"})
    yield holub
    holub.kill()
