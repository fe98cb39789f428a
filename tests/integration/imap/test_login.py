"""Logging in, TLS, and what a client may turn on."""

from __future__ import annotations

import imaplib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from tests.integration.imap.running import (
    ALICE,
    BOB,
    PASSWORD,
    Raw,
    Running,
    client_of,
    imap4,
    in_thread,
    message,
)


async def test_imaplib_enables_nothing_unknown(gateway: Running) -> None:
    def enable() -> tuple[str, Any]:
        client = imap4(gateway)
        try:
            typ, _ = client.enable("X-NO-SUCH-THING")
            return typ, client.response("ENABLED")[1]
        finally:
            client.logout()

    typ, enabled = await in_thread(enable)

    assert typ == "OK"
    assert b"X-NO" not in (enabled[0] or b"")


async def test_imaplib_upgrades_to_tls(start: Callable[..., Any]) -> None:
    async with start() as gateway:
        await gateway.deliver(message())

        def upgrade() -> tuple[list[str], list[str], Any]:
            client = imaplib.IMAP4("localhost", gateway.port, timeout=20)
            before = list(client.capabilities)
            client.starttls(gateway.trusting())
            after = list(client.capabilities)
            client.login(ALICE, PASSWORD)
            count = client.select("INBOX")[1]
            client.logout()
            return before, after, count

        before, after, count = await in_thread(upgrade)

    assert "STARTTLS" in before
    assert "LOGINDISABLED" in before
    assert "AUTH=PLAIN" not in before
    assert "STARTTLS" not in after
    assert "LOGINDISABLED" not in after
    assert count == [b"1"]


async def test_imaplib_cannot_log_in_without_tls(start: Callable[..., Any]) -> None:
    async with start() as gateway:

        def attempt() -> None:
            client = imaplib.IMAP4("127.0.0.1", gateway.port, timeout=20)
            try:
                client.login(ALICE, PASSWORD)
            finally:
                client.shutdown()

        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            await in_thread(attempt)


async def test_imaplib_speaks_tls_from_the_start(start: Callable[..., Any]) -> None:
    async with start() as gateway:

        def log_in() -> str:
            context = gateway.trusting()
            client = imaplib.IMAP4_SSL(
                "localhost", gateway.tls_port, ssl_context=context, timeout=20
            )
            typ, _ = client.login(ALICE, PASSWORD)
            client.logout()
            return typ

        assert await in_thread(log_in) == "OK"


async def test_a_wrong_password_is_refused(gateway: Running) -> None:
    def attempt() -> None:
        with IMAPClient("127.0.0.1", gateway.port, ssl=False, timeout=20) as client:
            client.login(ALICE, "wrong")

    with pytest.raises(LoginError, match="wrong address or password"):
        await in_thread(attempt)


async def test_imapclient_identifies_itself(gateway: Running) -> None:
    def ask() -> Any:
        with client_of(gateway) as client:
            return client.id_({"name": "imapclient", "version": "4"})

    assert (await in_thread(ask))[0] == (b"name", b"Holub")


async def test_imaplib_speaks_rev2(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.enable("IMAP4rev2")
            enabled = client.response("ENABLED")[1]
            client.select("INBOX")
            listed, recent = client.response("LIST")[1], client.response("RECENT")[1]
            client.xatom("SEARCH", "ALL")
            found = client.response("ESEARCH")[1]
            client.create('"Ärger & Co"'.encode())
            client.xatom("LIST", '""', '"%"')
            names = client.response("LIST")[1]
            client.select("Sent")
            closed = client.response("CLOSED")[1]
            return enabled, listed, recent, found, names, closed
        finally:
            client.logout()

    enabled, listed, recent, found, names, closed = await in_thread(work)

    assert enabled == [b"IMAP4rev2"]
    assert listed == [b'() "/" INBOX']
    assert recent == [None]
    assert found[0].endswith(b"ALL 1:2")
    assert any(name.endswith('"Ärger & Co"'.encode()) for name in names)
    assert closed == [b""]


async def test_imaplib_becomes_somebody_else(gateway: Running) -> None:
    await gateway.deliver(message(1))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.enable("QRESYNC")
            client.select("INBOX")
            client.xatom("UNAUTHENTICATE")
            client.state = "NONAUTH"
            client.login(BOB, PASSWORD)
            return client.select("INBOX")[1], client.status("INBOX", "(MESSAGES)")[1]
        finally:
            client.logout()

    assert await in_thread(work) == ([b"0"], [b"INBOX (MESSAGES 0)"])


class Deflated:
    """A socket file of imaplib with RFC 4978 in between."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._in, self._out = zlib.decompressobj(-15), zlib.compressobj(6, zlib.DEFLATED, -15)
        self._buffer = b""
        self.received = 0

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH))

    def _more(self) -> None:
        data = self._socket.recv(65536)
        assert data
        self.received += len(data)
        self._buffer += self._in.decompress(data)

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def readline(self, _: int = -1) -> bytes:
        while b"\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


async def test_imaplib_compresses(gateway: Running) -> None:
    await gateway.deliver(*(message(n) for n in range(50)))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            assert client.xatom("COMPRESS", "DEFLATE")[0] == "OK"
            deflated = Deflated(client.sock)
            client.read, client.readline = deflated.read, deflated.readline
            client.send = deflated.sendall
            words = client.capability()[1][-1].split()
            again = client.xatom("COMPRESS", "DEFLATE")
            client.select("INBOX")
            _, parts = client.fetch("1:*", "(BODY.PEEK[])")
            client.append("Sent", None, None, b"Subject: zzz\r\n\r\n" + b"z" * 100_000)
            return words, again, [p[1] for p in parts if isinstance(p, tuple)], deflated.received
        finally:
            client.logout()

    words, again, found, received = await in_thread(work)

    assert b"COMPRESS=DEFLATE" not in words
    assert again[0] == "NO"
    assert found == [message(n) for n in range(50)]
    assert received < sum(map(len, found)) / 3
    box = await gateway.store.mailbox(gateway.accounts[ALICE], "Sent")
    assert box is not None
    assert box.octets > 100_000


async def test_a_compression_bomb_is_refused_as_any_long_line_is(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)
    assert (await client.ask(b"c COMPRESS DEFLATE\r\n"))[-1].startswith(b"c OK")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)

    await client.send(packer.compress(b"x" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH))

    plain = zlib.decompressobj(-15).decompress(await client.reader.read())
    assert b"BYE" in plain
    assert b"too long" in plain
    await client.close()


async def test_what_is_not_deflated_ends_the_connection(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)
    await client.ask(b"c COMPRESS DEFLATE\r\n")

    await client.send(b"n NOOP\r\n" * 100)

    assert await client.reader.read() == b""
    await client.close()
