"""The filter role on the embedded backends, with a real clamd."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from libs.common.blobstore.protocol import BlobRef
from libs.common.db.schema import message, outcome, parked, quarantine, trace, watermark
from libs.common.jobs import (
    Client,
    DeliveryJob,
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    RecordHeader,
    Verdict,
    VerdictReply,
    decode,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.runtime.settings import PlatformSettings
from services.filter.service import run
from services.ingress.engines import Engines
from services.platform import Platform, open_platform
from tests.servers.clamd import EICAR, MARKER, Clamd
from tests.servers.schema import at_head

CONTENT = b"From: a@example.test\r\nSubject: hello\r\nMessage-ID: <1@x>\r\n\r\nText.\r\n"
VIRUS = CONTENT + EICAR + b"\r\n"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
    )
    async with open_platform(settings) as opened:
        await at_head(opened.database)
        yield opened


def environment(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    for name in [name for name in os.environ if name.startswith("HOLUB_FILTER_")]:
        monkeypatch.delenv(name)
    # test_authentication has DNS; here nobody asks the machine's.
    monkeypatch.setenv("HOLUB_FILTER_DMARC", "off")
    for key, value in settings.items():
        monkeypatch.setenv(f"HOLUB_FILTER_{key.upper()}", str(value))


@asynccontextmanager
async def filtering(platform: Platform) -> AsyncIterator[None]:
    platform.stopping.clear()
    task = asyncio.create_task(run(platform))
    try:
        yield
    finally:
        platform.stopping.set()
        done, _ = await asyncio.wait([task], timeout=5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if done:
            task.result()


async def stored(platform: Platform, content: bytes, **fields: Any) -> FilterJob:
    recipients = (Recipient(0, "bob@example.test"), Recipient(1, "eve@example.test"))
    header = RecordHeader(
        new_mail_id(),
        1_800_000_000.0,
        Envelope("a@other.test", recipients),
        listener="mx",
        hostname="mail.example.test",
        client=Client("192.0.2.1", helo="mx.other.test", tls="TLSv1.3"),
        **fields,
    )
    ref = await platform.blobs.put(encode_header(header), content, key=header.mail_id)
    return FilterJob(ref, header)


async def put(platform: Platform, *jobs: FilterJob) -> None:
    await platform.queue.put("filter", [encode(job) for job in jobs])


async def rows(platform: Platform, table: Table) -> Sequence[Any]:
    async with platform.database.reading() as transaction:
        return await transaction.rows(select(table))


async def eventually(check: Callable[[], Any], seconds: float = 15) -> Any:
    """What `check` gives once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
    return found


async def deliveries(platform: Platform, count: int) -> list[DeliveryJob]:
    consumer = await platform.queue.consume("delivery", 100)
    jobs: list[DeliveryJob] = []
    async with asyncio.timeout(15):
        while len(jobs) < count:
            for lease in await consumer.take(100):
                jobs.append(decode(lease.body, DeliveryJob))
                await lease.ack()
    await consumer.close()
    return jobs


async def idle(platform: Platform) -> bool:
    return (await platform.queue.depth("filter")).jobs == 0


@pytest.mark.parametrize("kind", ["url", "tcp_url"])
async def test_clean_mail_goes_on_with_its_summary_and_its_trace(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    environment(monkeypatch, clamd=getattr(clamd, kind))
    job = await stored(platform, CONTENT)

    async with filtering(platform):
        await put(platform, job)
        (onward,) = await deliveries(platform, 1)

    assert (onward.header, onward.size) == (job.header, len(CONTENT))
    assert onward.verdict is Verdict.ACCEPT
    (row,) = await rows(platform, message)
    assert (row.mail_id, row.message_id, row.subject) == (job.header.mail_id, "<1@x>", "hello")
    steps = await rows(platform, trace)
    assert [(step.stage, step.what) for step in steps] == [
        ("ingress", "accepted"),
        ("filter", "accept"),
    ]
    assert steps[0].at == job.header.received_at
    for fact in ("192.0.2.1", "mx.other.test", "TLSv1.3", f"{len(CONTENT)} octets"):
        assert fact in steps[0].why
    assert [row.queue for row in await rows(platform, watermark)] == ["filter"]


@pytest.mark.parametrize("virus", [VIRUS, CONTENT + b"x" * 300_000 + MARKER])
async def test_a_virus_is_quarantined_for_everybody_and_the_asker_is_told(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, virus: bytes
) -> None:
    environment(monkeypatch, clamd=clamd.url)
    job = await stored(platform, virus)
    address = await platform.queue.reply_address()
    replies = platform.queue.replies()
    reply = asyncio.ensure_future(anext(replies))
    await asyncio.sleep(0)

    async with filtering(platform):
        await put(platform, FilterJob(job.blob, job.header, address))
        answer = decode(await asyncio.wait_for(reply, 15), VerdictReply)
        await eventually(lambda: idle(platform))

    assert (answer.mail_id, answer.verdict) == (job.header.mail_id, Verdict.REJECT)
    assert "Test" in answer.text
    states = [(row.n, row.state) for row in await rows(platform, outcome)]
    assert states == [(0, "quarantined"), (1, "quarantined")]
    assert [row.n for row in await rows(platform, quarantine)] == [0, 1]
    assert (await platform.queue.depth("delivery")).jobs == 0


def encrypted_archive() -> bytes:
    """A ZIP whose member says that it is encrypted (APPNOTE 4.4.4, bit 0), in a MIME part."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("secret.txt", b"nobody can read this " * 10)
    octets = bytearray(made.getvalue())
    octets[6] |= 1
    octets[octets.index(b"PK\x01\x02") + 8] |= 1
    mail = EmailMessage()
    mail["From"] = "a@example.test"
    mail.set_content("See the archive.")
    mail.add_attachment(bytes(octets), maintype="application", subtype="zip", filename="secret.zip")
    return mail.as_bytes(policy=SMTP)


async def test_an_encrypted_archive_is_held_and_is_not_called_malware(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, clamd=clamd.url)

    async with filtering(platform):
        await put(platform, await stored(platform, encrypted_archive()))
        held = await eventually(lambda: rows(platform, quarantine))

    assert {row.reason.partition(" (")[0] for row in held} == {
        "not scanned: something in it is encrypted"
    }
    assert {row.verdict for row in await rows(platform, message)} == {"quarantine"}


@pytest.mark.parametrize("swept", [0, 1])
async def test_a_job_that_comes_twice_keeps_the_first_verdict(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, swept: int
) -> None:
    """Even when signatures changed in between: two filters must never disagree on one mail."""
    job = await stored(platform, VIRUS)
    environment(monkeypatch)
    async with filtering(platform):
        await put(platform, job)
        await deliveries(platform, 1)
    environment(monkeypatch, clamd=clamd.url)

    async with filtering(platform):
        await put(platform, FilterJob(job.blob, job.header, swept=swept))
        (again,) = await deliveries(platform, 1)

    assert again.verdict is Verdict.ACCEPT
    assert not await rows(platform, quarantine)
    assert len(await rows(platform, trace)) == 2


async def test_mail_waits_for_a_daemon_that_is_away(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        environment(monkeypatch, clamd=f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        job = await stored(platform, CONTENT)
        async with filtering(platform):
            await put(platform, job)
            await asyncio.sleep(1)
            assert not await rows(platform, message)
    environment(monkeypatch, clamd=clamd.url)

    async with filtering(platform):
        assert len(await deliveries(platform, 1)) == 1


async def test_the_trace_shows_what_was_found_of_the_client(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch)
    job = await stored(platform, CONTENT, policy=("dnsbl=score=1:bl.test", "helo=pass"))

    async with filtering(platform):
        await put(platform, job)
        await deliveries(platform, 1)

    told = {(row.stage, row.what): row.why for row in await rows(platform, trace)}
    assert told["ingress", "screened"] == "dnsbl=score=1:bl.test helo=pass"


@pytest.mark.parametrize("unscanned", ["tempfail", "hold"])
async def test_ingress_hears_that_no_scanner_answers_and_that_one_does_again(
    platform: Platform,
    clamd: Clamd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    unscanned: str,
) -> None:
    """A unix socket that comes to be while filter runs, as it does when clamd is restarted."""
    path = tmp_path / "clamd"
    environment(monkeypatch, clamd=f"unix://{path}", unscanned=unscanned)
    engines = Engines(platform.queue)
    engines.start()
    job = await stored(platform, CONTENT)
    async with filtering(platform):
        await put(platform, job)
        if unscanned == "tempfail":
            await eventually(async_(lambda: engines.refusal(time.monotonic())))
        else:
            await asyncio.sleep(1)
            assert engines.refusal(time.monotonic()) is None
        path.symlink_to(clamd.url.removeprefix("unix://"))

        assert len(await deliveries(platform, 1)) == 1
        # Not only now and then, as one is let through to see.
        now = time.monotonic
        await eventually(async_(lambda: engines.refusal(now()) is engines.refusal(now()) is None))
    await engines.close()


def async_(check: Callable[[], Any]) -> Callable[[], Any]:
    async def asked() -> Any:
        return check()

    return asked


async def test_by_policy_mail_goes_on_unscanned_and_says_so(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment(monkeypatch, clamd=f"unix://{tmp_path}/nobody", unscanned="accept-and-mark")
    job = await stored(platform, CONTENT)

    async with filtering(platform):
        await put(platform, job)
        (onward,) = await deliveries(platform, 1)

    assert onward.prefix == "X-Holub-Unscanned: yes\r\n"


async def test_our_own_report_does_not_wait_for_a_scanner(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment(monkeypatch, clamd=f"unix://{tmp_path}/nobody")
    job = await stored(platform, CONTENT, origin=Origin.DSN, parent=new_mail_id())

    async with filtering(platform):
        await put(platform, job)
        assert len(await deliveries(platform, 1)) == 1


async def test_a_damaged_record_is_parked_and_its_neighbours_go_on(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment(monkeypatch, clamd=clamd.url)
    jobs = [await stored(platform, CONTENT) for _ in range(5)]
    bad = await stored(platform, CONTENT + b"x" * 300_000)
    path = tmp_path / "blobs" / bad.blob.segment
    data = bytearray(path.read_bytes())
    data[bad.blob.offset + 200] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)

    async with filtering(platform):
        await put(platform, *jobs[:2], bad, *jobs[2:])
        onward = await deliveries(platform, 5)
        held = await eventually(lambda: rows(platform, parked))

    assert {item.header.mail_id for item in onward} >= {job.header.mail_id for job in jobs}
    assert [row.mail_id for row in held] == [bad.header.mail_id]


async def test_a_record_that_is_not_there_is_tried_again_and_never_dropped(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, clamd=clamd.url)
    job = await stored(platform, CONTENT)
    gone = FilterJob(BlobRef("mail/2026/01/01/00/nowhere", 0, 100), job.header)

    async with filtering(platform):
        await put(platform, gone)
        await asyncio.sleep(0.5)
        assert (await platform.queue.depth("filter")).jobs == 1

    assert not await rows(platform, message)


async def test_real_messages_pass_without_stalling_the_loop(
    platform: Platform, clamd: Clamd, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    environment(monkeypatch, clamd=clamd.url)
    paths = sorted(path for path in (corpus / "messages").rglob("*") if path.is_file())[:300]
    jobs = [await stored(platform, path.read_bytes()) for path in paths]
    longest = 0.0

    async def watch() -> None:
        # The CPU time of the loop's own thread: a machine that is busy elsewhere is no stall.
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.01)
            longest = max(longest, time.thread_time() - before - 0.01)

    watching = asyncio.create_task(watch())
    async with filtering(platform):
        await put(platform, *jobs)
        onward = await deliveries(platform, len(jobs))
    watching.cancel()

    assert {item.header.mail_id for item in onward} == {job.header.mail_id for job in jobs}
    assert longest < 0.2
