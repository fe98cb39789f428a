"""The servers that the tests provide work with the clients that the platform uses."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from tests.servers.clamd import EICAR, MARKER, Clamd
from tests.servers.dns import Dns


async def test_a_fresh_vhost_of_rabbitmq_confirms_to_a_quorum_queue(rabbitmq_url: str) -> None:
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        queue = await channel.declare_queue(
            "filter", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"job"), "filter", timeout=10)

        message = await queue.get(timeout=10)

        assert message is not None
        assert message.body == b"job"
        await message.ack()


async def test_a_fresh_database_has_the_schema_and_no_rows(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM outcome") == 0
    finally:
        await connection.close()


async def test_an_empty_database_has_no_table(empty_postgres_url: str) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(query) == 0
    finally:
        await connection.close()


async def test_a_fresh_bucket_creates_an_object_only_once(s3_url: str) -> None:
    url = urlsplit(s3_url)
    store = S3Store(
        url.path.strip("/"),
        config={
            "endpoint": f"http://{url.hostname}:{url.port}",
            "access_key_id": url.username or "",
            "secret_access_key": url.password or "",
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )

    await obstore.put_async(store, "a/b", b"content", mode="create")

    assert bytes(await (await obstore.get_async(store, "a/b")).bytes_async()) == b"content"
    with pytest.raises(AlreadyExistsError):
        await obstore.put_async(store, "a/b", b"other", mode="create")


def _scan(clamd: Clamd, content: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(str(clamd.socket))
        link.sendall(b"zINSTREAM\0" + struct.pack(">I", len(content)) + content + bytes(4))
        return link.recv(256)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (EICAR, b"Eicar-Test-Signature"),
        (b"Subject: a\r\n\r\n" + MARKER + b"\r\n", b"Holub-Test-Marker"),
        (b"Subject: a\r\n\r\nhello\r\n", b"stream: OK"),
    ],
)
def test_clamd_finds_eicar_and_the_marker(clamd: Clamd, content: bytes, answer: bytes) -> None:
    assert answer in _scan(clamd, content)


def test_a_paused_clamd_is_silent_until_it_is_resumed(clamd: Clamd) -> None:
    clamd.pause()
    with socket.create_connection(("127.0.0.1", clamd.port), 5) as link:
        link.settimeout(0.5)
        link.sendall(b"zPING\0")
        with pytest.raises(TimeoutError):
            link.recv(16)

        clamd.resume()

        link.settimeout(10)
        assert link.recv(16) == b"PONG\0"


def _ask(dns: Dns, name: str, kind: int) -> tuple[int, bool, int]:
    """(RCODE, AD bit, number of answers) of a question to the resolver."""
    labels = b"".join(bytes([len(word)]) + word.encode() for word in name.split("."))
    flags = 0x0120  # RD and AD: we understand AD (RFC 6840 §5.7).
    header = struct.pack(">6H", secrets.randbits(16), flags, 1, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(10)
        link.connect(("127.0.0.1", dns.port))
        link.send(header + labels + b"\0" + struct.pack(">HH", kind, 1))
        answer = link.recv(4096)
    _, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    return flags & 15, bool(flags & 0x20), answers


@pytest.mark.parametrize(
    ("zone", "rcode", "secure"),
    [
        ("example.test", 0, True),
        ("signed.test", 0, True),
        ("plain.test", 0, False),
        ("bogus.test", 2, False),
        ("elsewhere.invalid", 3, False),
    ],
)
def test_the_resolver_validates_signed_zones_only(
    dns: Dns, zone: str, rcode: int, secure: bool
) -> None:
    assert _ask(dns, zone, 15)[:2] == (rcode, secure)


def test_a_record_set_by_a_test_is_signed_and_seen_at_once(dns: Dns) -> None:
    assert _ask(dns, "new.example.test", 1) == (3, True, 0)

    dns.set("new.example.test", "A", ["127.0.0.2", "127.0.0.3"])

    assert _ask(dns, "new.example.test", 1) == (0, True, 2)
    dns.set("new.example.test", "A", [])
    assert _ask(dns, "new.example.test", 1) == (3, True, 0)


async def test_two_tests_never_share_a_vhost(rabbitmq_url: str) -> None:
    connection = await asyncio.wait_for(aio_pika.connect(rabbitmq_url), 10)
    async with connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelClosed):
            await channel.declare_queue("filter", passive=True)
