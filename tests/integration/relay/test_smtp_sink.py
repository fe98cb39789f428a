"""Against Postfix's own sink, under uvloop as in production."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from sqlalchemy import func, select

from libs.common.db.migrate import migrate
from libs.common.db.schema import outcome
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
from services.relay.service import run
from tests.servers.needed import needed
from tests.servers.process import (
    ServerProcess,
    accepts,
    free_ports,
)

MESSAGES = 200
CONTENT = b"From: a@example.test\r\nSubject: n\r\n\r\n.dot\r\n" + b"text of a line\r\n" * 250


@pytest.fixture
def sink() -> Iterator[tuple[int, Path]]:
    (port,) = free_ports(1)
    program = needed("smtp-sink")
    folder = Path(tempfile.mkdtemp(prefix="holub-sink-"))
    argv = [program, "-d", f"{folder}/m.", f"127.0.0.1:{port}", "100"]
    if os.getuid() == 0:
        # It refuses to run as root, and the user that it becomes must be able to write here.
        shutil.chown(folder, "nobody")
        argv[1:1] = ["-u", "nobody"]
    server = ServerProcess(argv, folder.parent, log=f"{folder.name}.log")
    server.launch()
    try:
        server.wait_until(lambda: accepts(port), 10)
        yield port, folder
    finally:
        server.kill()
        server.log.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


async def _job(platform: Platform) -> RelayJob:
    header = RecordHeader(
        new_mail_id(),
        time.time(),
        Envelope("a@example.test", (Recipient(0, "b@other.test"),)),
        hostname="mail.example.test",
        client=Client("192.0.2.1", helo="pc", account=1),
    )
    ref = await platform.blobs.put(encode_header(header), CONTENT, key=header.mail_id)
    return RelayJob(ref, header, len(CONTENT), "other.test", (0,))


async def _relay_all(settings: PlatformSettings) -> float:
    """Seconds for all messages."""
    async with open_platform(settings) as platform:
        await migrate(platform.database)
        jobs = await asyncio.gather(*(_job(platform) for _ in range(MESSAGES)))
        await platform.queue.put("relay", [encode(job) for job in jobs])
        start = time.monotonic()
        task = asyncio.create_task(run(platform))
        async with asyncio.timeout(60):
            while await _count(platform) < MESSAGES:
                await asyncio.sleep(0.05)
        took = time.monotonic() - start
        platform.stopping.set()
        await task
        return took


async def _count(platform: Platform) -> int:
    async with platform.database.reading() as transaction:
        query = select(func.count()).select_from(outcome).where(outcome.c.state == "relayed")
        return int(await transaction.scalar(query))


def test_every_message_arrives_once_and_whole(
    sink: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, folder = sink
    monkeypatch.setenv("HOLUB_RELAY_NEXT_HOP", f"127.0.0.1:{port}")
    monkeypatch.setenv("HOLUB_RELAY_HOSTNAME", "mail.example.test")
    settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
    )

    took = uvloop.run(_relay_all(settings))

    print(f"{MESSAGES / took:.0f} messages/s")
    files = [path.read_bytes() for path in folder.iterdir()]
    assert len(files) == MESSAGES
    # The sink writes lines with LF alone.
    assert all(file.rstrip().endswith(b"text of a line") for file in files)
    assert all(file.count(b"\n.dot\n") == 1 for file in files)
    assert len({_message_id(file) for file in files}) == MESSAGES


def _message_id(file: bytes) -> bytes:
    return next(line for line in file.splitlines() if line.startswith(b"Message-ID:"))
