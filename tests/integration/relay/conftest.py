from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.runtime.settings import PlatformSettings
from services.platform import Platform, open_platform
from tests.integration.relay.host import Host
from tests.servers.schema import at_head


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
        drain_seconds=2,
    )
    async with open_platform(settings) as opened:
        await at_head(opened.database)
        yield opened


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    other = Host()
    await other.start()
    yield other
    other.stop()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, host: Host) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("HOLUB_RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOLUB_RELAY_HOSTNAME", "mail.example.test")
    monkeypatch.setenv("HOLUB_RELAY_NEXT_HOP", f"127.0.0.1:{host.port}")
    monkeypatch.setenv("HOLUB_RELAY_POLL_SECONDS", "0.1")
    return monkeypatch
