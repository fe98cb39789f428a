"""The sender's authentication in the filter, with knot and unbound, and by the command line."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select

from libs.common.db.schema import trace
from libs.common.jobs import (
    Client,
    DeliveryJob,
    Envelope,
    FilterJob,
    Recipient,
    RecordHeader,
    Verdict,
    decode,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.queue.protocol import Lease
from libs.common.runtime.settings import PlatformSettings
from libs.common.senderauth import Signer, dkim_fields
from services.filter.service import run
from services.platform import Platform, open_platform
from tests.servers.dns import Dns
from tests.servers.schema import at_head

ROOT = Path(__file__).resolve().parents[3]
PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
SIGNER = Signer.load("signed.test", "sel", PEM)
CONTENT = (
    b"From: Alice <alice@signed.test>\r\nTo: bob@example.test\r\nSubject: hello\r\n"
    b"Message-ID: <1@signed.test>\r\n\r\nText.\r\n"
)
SPF = '"v=spf1 ip4:127.0.0.1 -all"'
OURS, STRANGER = "127.0.0.1", "192.0.2.66"
MARK = "spf=pass dkim=pass dmarc=pass"


@pytest.fixture
def zone(dns: Dns) -> Iterator[Dns]:
    """signed.test sends from 127.0.0.1, signs, and asks for rejection."""
    # Set here, because the zone is the session's and another test may have published its own SPF.
    dns.set("signed.test", "TXT", [SPF])
    dns.set("sel._domainkey.signed.test", "TXT", [f'"{SIGNER.record}"'])
    dns.set("_dmarc.signed.test", "TXT", ['"v=DMARC1; p=reject"'])
    yield dns
    dns.set("_dmarc.signed.test", "TXT", [])
    dns.set("sel._domainkey.signed.test", "TXT", [])


@asynccontextmanager
async def filtering(
    folder: Path, dns_servers: str, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> AsyncIterator[Platform]:
    for name in [name for name in os.environ if name.startswith("HOLUB_FILTER_")]:
        monkeypatch.delenv(name)
    for key, value in settings.items():
        monkeypatch.setenv(f"HOLUB_FILTER_{key.upper()}", value)
    urls = PlatformSettings(
        database_url=f"sqlite:///{folder}/holub.db",
        queue_url=f"sqlite:///{folder}/queue.db",
        blob_url=f"file:{folder}/blobs",
        dns_servers=dns_servers,
    )
    async with open_platform(urls) as platform:
        await at_head(platform.database)
        task = asyncio.create_task(run(platform))
        yield platform
        platform.stopping.set()
        await asyncio.wait_for(task, 10)


async def stored(
    platform: Platform,
    client: Client,
    content: bytes = CONTENT,
    reverse_path: str = "alice@signed.test",
) -> FilterJob:
    header = RecordHeader(
        new_mail_id(),
        time.time(),
        Envelope(reverse_path, (Recipient(0, "bob@example.test"),)),
        listener="mx",
        hostname="mail.example.test",
        client=client,
    )
    ref = await platform.blobs.put(encode_header(header), content, key=header.mail_id)
    return FilterJob(ref, header)


async def filtered(
    platform: Platform, content: bytes, ip: str, reverse_path: str = "alice@signed.test"
) -> DeliveryJob | None:
    """The delivery job of a message; None when it is held."""
    new = await stored(platform, Client(ip, helo="mx.signed.test"), content, reverse_path)
    header = new.header
    await platform.queue.put("filter", [encode(new)])
    consumer = await platform.queue.consume("delivery", 1)
    try:
        async with asyncio.timeout(15):
            while not (done := [what for what, _ in await traced(platform, header.mail_id)]):
                await asyncio.sleep(0.05)
            if "quarantined" in done:
                return None
            leases = await consumer.take(1)
        await leases[0].ack()
        return decode(leases[0].body, DeliveryJob)
    finally:
        await consumer.close()


async def traced(platform: Platform, mail_id: str) -> list[tuple[str, str]]:
    query = select(trace.c.what, trace.c.why).where(trace.c.mail_id == mail_id)
    async with platform.database.reading() as transaction:
        return [(row.what, row.why) for row in await transaction.rows(query)]


async def test_an_authenticated_sender_is_accepted_with_the_results_before_the_content(
    tmp_path: Path, zone: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filtering(tmp_path, zone.servers, monkeypatch) as platform:
        signed = dkim_fields(CONTENT, [SIGNER], int(time.time())) + CONTENT

        job = await filtered(platform, signed, OURS)

        assert job is not None
        assert job.verdict is Verdict.ACCEPT
        field = " ".join(job.prefix.split())
        assert field.startswith("Authentication-Results: mail.example.test; spf=pass")
        assert "dkim=pass header.d=signed.test header.s=sel header.a=ed25519-sha256" in field
        assert "dmarc=pass header.from=signed.test policy.dmarc=reject" in field
        whys = [why for _, why in await traced(platform, job.header.mail_id)]
        assert any(MARK in why for why in whys)


async def test_a_forged_author_goes_to_junk(
    tmp_path: Path, zone: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filtering(tmp_path, zone.servers, monkeypatch) as platform:
        job = await filtered(platform, CONTENT, STRANGER)

        assert job is not None
        assert job.verdict is Verdict.JUNK
        assert "spf=fail" in job.prefix
        assert "dmarc=fail" in job.prefix
        whys = [why for _, why in await traced(platform, job.header.mail_id)]
        assert any("whose DMARC policy asks for reject" in why for why in whys)


async def test_a_forged_author_is_refused_where_that_is_set(
    tmp_path: Path, zone: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filtering(tmp_path, zone.servers, monkeypatch, dmarc="reject") as platform:
        assert await filtered(platform, CONTENT, STRANGER) is None


async def test_two_authors_go_to_junk(
    tmp_path: Path, zone: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filtering(tmp_path, zone.servers, monkeypatch) as platform:
        forged = b"From: x@plain.test\r\n" + CONTENT

        job = await filtered(platform, forged, OURS)

        assert job is not None
        assert job.verdict is Verdict.JUNK


async def test_dns_that_does_not_answer_holds_nothing_up_and_against_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"authentication_seconds": "0.5"}
    async with filtering(tmp_path, "127.0.0.1:1", monkeypatch, **settings) as platform:
        job = await filtered(platform, CONTENT, STRANGER)

        assert job is not None
        assert job.verdict is Verdict.ACCEPT
        assert "spf=temperror" in job.prefix


async def test_one_whose_dns_is_slow_keeps_no_neighbour_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        servers = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = {"authentication_seconds": "2"}
        async with filtering(tmp_path, servers, monkeypatch, **settings) as platform:
            jobs = [
                await stored(platform, Client(STRANGER)),
                await stored(platform, Client("", account=7)),
            ]
            await platform.queue.put("filter", [encode(job) for job in jobs])
            consumer = await platform.queue.consume("delivery", 2)
            leases: list[Lease] = []
            async with asyncio.timeout(30):
                while len(leases) < len(jobs):
                    leases += await consumer.take(2)
            found = [decode(lease.body, DeliveryJob) for lease in leases]
            for lease in leases:
                await lease.ack()
            await consumer.close()

    assert [one.header.mail_id for one in found] == [job.header.mail_id for job in jobs[::-1]]
    assert "spf=temperror" in found[1].prefix


def test_the_command_line_answers_line_by_line(zone: Dns) -> None:
    signed = dkim_fields(CONTENT, [SIGNER], int(time.time())) + CONTENT
    message = base64.b64encode(signed).decode()
    asked = [
        {"op": "spf", "ip": OURS, "helo": "mx", "mailfrom": "a@signed.test"},
        {"op": "spf", "ip": STRANGER, "helo": "mx", "mailfrom": "a@signed.test"},
        {"op": "dkim", "message": message},
        {"op": "arc", "message": message},
        {"op": "dmarc", "message": message, "ip": STRANGER, "helo": "x", "mailfrom": "a@b.test"},
        {"op": "dkim", "message": "!"},
        {"op": "spf"},
    ]
    lines = "".join(json.dumps({**one, "dns": zone.servers}) + "\n" for one in asked)

    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main", "verify", "spf", "--json-lines"],
        input=lines + "nonsense\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("result") for one in answers[:5]] == ["pass", "fail", "pass", "none", "pass"]
    assert answers[4]["policy"] == "reject"
    assert answers[4]["aligned"] == ["dkim"]
    assert all("error" in one for one in answers[5:])
    assert len(answers) == 8
