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
    holub.prepare("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan")
    limits = {
        "MAX_MESSAGE_OCTETS": "2000000",
        "MAX_RECIPIENTS": "100",
        "XCLIENT_NETWORKS": "127.0.0.1",
    }
    holub.start("all", env={f"HOLUB_INGRESS_{name}": value for name, value in limits.items()})
    yield holub
    holub.kill()
