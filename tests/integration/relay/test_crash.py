"""kill -9 at each step of an attempt (T5): never lost, and twice only where T5 says so."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from libs.common.db.migrate import migrate
from libs.common.db.schema import deferred, outcome
from libs.common.jobs import (
    Client,
    Envelope,
    Recipient,
    RecordHeader,
    RelayJob,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.runtime.settings import PlatformSettings
from services.platform import Platform, open_platform
from tests.integration.relay.host import Host

ROOT = Path(__file__).resolve().parents[3]
CONTENT = b"Subject: hello\r\n\r\ntext\r\n"


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    other = Host()
    await other.start()
    yield other
    other.stop()


class Scene:
    """One set of embedded backends, and relay processes on it."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.failpoints = folder / "failpoints"
        self.settings = PlatformSettings(
            database_url=f"sqlite:///{folder}/holub.db",
            queue_url=f"sqlite:///{folder}/queue.db",
            blob_url=f"file:{folder}/blobs",
        )
        self._environment = {
            **os.environ,
            "HOLUB_DATABASE_URL": self.settings.database_url,
            "HOLUB_QUEUE_URL": self.settings.queue_url,
            "HOLUB_BLOB_URL": self.settings.blob_url,
            "HOLUB_HEALTH_PORT": "0",
            "HOLUB_FAILPOINTS": "1",
            "HOLUB_FAILPOINTS_FILE": str(self.failpoints),
            "HOLUB_RELAY_NEXT_HOP": f"127.0.0.1:{host.port}",
            "HOLUB_RELAY_LEASE_SECONDS": "1",
            "HOLUB_RELAY_POLL_SECONDS": "0.1",
        }

    async def relay(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services", "relay"),
            cwd=ROOT,
            env=self._environment,
            stderr=asyncio.subprocess.PIPE,
        )


async def _running(process: asyncio.subprocess.Process) -> None:
    """From here it hears signals."""
    assert process.stderr
    async with asyncio.timeout(30):
        while b'"running"' not in (line := await process.stderr.readline()):
            assert line, "it ended before it ran"


async def _put(platform: Platform) -> None:
    await migrate(platform.database)
    header = RecordHeader(
        new_mail_id(),
        time.time(),
        Envelope("a@example.test", (Recipient(0, "b@other.test"),)),
        client=Client(account=1),
    )
    ref = await platform.blobs.put(encode_header(header), CONTENT, key=header.mail_id)
    await platform.queue.put(
        "relay", [encode(RelayJob(ref, header, len(CONTENT), "other.test", (0,)))]
    )


async def _relayed(scene: Scene) -> bool:
    async with open_platform(scene.settings) as platform:
        async with platform.database.reading() as transaction:
            states = await transaction.rows(select(outcome.c.state))
            waiting = await transaction.rows(select(deferred.c.n))
        return [row.state for row in states] == ["relayed"] and not waiting


@pytest.mark.parametrize(
    ("failpoint", "copies"),
    [
        ("relay.after_claim", 1),
        ("relay.before_dot", 1),
        ("relay.after_dot", 2),
        ("relay.after_record", 1),
    ],
)
async def test_a_killed_relay_loses_nothing(
    tmp_path: Path, host: Host, failpoint: str, copies: int
) -> None:
    scene = Scene(tmp_path, host)
    async with open_platform(scene.settings) as platform:
        await _put(platform)
    scene.failpoints.write_text(f"{failpoint} kill once\n")

    first = await scene.relay()
    assert await asyncio.wait_for(first.wait(), 30) == -signal.SIGKILL
    second = await scene.relay()
    try:
        await _running(second)
        async with asyncio.timeout(30):
            while not await _relayed(scene):
                await asyncio.sleep(0.2)
        # A late second copy would come within the next lease.
        await asyncio.sleep(1.5)
    finally:
        second.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.wait(), 15) == 0

    assert len(host.taken) == copies
    assert all(CONTENT in taken.content for taken in host.taken)
