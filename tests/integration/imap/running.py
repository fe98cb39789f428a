"""A running gateway as tests see it, and ways to run clients beside it."""

from __future__ import annotations

import asyncio
import functools
import imaplib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from imapclient import IMAPClient

from libs.common.mailstore import AppendItem, MailStore
from services.platform import Platform

T = TypeVar("T")
ALICE = "alice@example.test"
BOB = "bob@example.test"
PASSWORD = 'a "quoted" \\ pass'
MESSAGE = (
    b"From: Ann <ann@other.test>\r\nTo: Alice <alice@example.test>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n"
    b"Message-ID: <%d@other.test>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nneedle number %d\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Disposition: attachment; filename=a.bin\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b--\r\n"
)


def message(number: int = 1) -> bytes:
    """A small multipart message."""
    return MESSAGE % (number, number)


@dataclass(slots=True)
class Running:
    """A gateway at work, and the store behind it."""

    platform: Platform
    store: MailStore
    accounts: dict[str, int]
    port: int
    tls_port: int
    ca: Path
    task: asyncio.Task[None]

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts our certificate."""
        return ssl.create_default_context(cafile=str(self.ca))

    async def deliver(self, *contents: bytes, to: str = "INBOX", account: str = ALICE) -> list[int]:
        """Put messages into a mailbox as storage would; their UIDs."""
        items = [AppendItem(content, 0, "", None) for content in contents]
        return (await self.store.append(self.accounts[account], to, items))[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def in_thread(work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run a blocking client beside the gateway's loop."""
    return await asyncio.to_thread(functools.partial(work, *arguments, **named))


async def command(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a program to its end; its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | environment,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode("utf-8", "replace")


class Raw:
    """A client that sends just the octets it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, gateway: Running, account: str = "") -> Raw:
        """Past the greeting; logged in when an account is named."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1 << 27)
        client = cls(reader, writer)
        assert (await client.line()).startswith(b"* OK [CAPABILITY")
        if account:
            quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
            answer = await client.ask(f'l LOGIN {account} "{quoted}"\r\n'.encode())
            assert answer[-1].startswith(b"l OK"), answer
        return client

    async def send(self, data: bytes) -> None:
        """Send and wait until it is taken."""
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> bytes:
        """The next line; empty at the end of the connection."""
        async with asyncio.timeout(20):
            return await self.reader.readline()

    async def until(self, tag: bytes) -> list[bytes]:
        """Lines up to the tagged response, or up to the end of the connection."""
        lines = []
        while line := await self.line():
            lines.append(line)
            if line.startswith(tag + b" "):
                break
        return lines

    async def ask(self, data: bytes) -> list[bytes]:
        """Send one command; all that is answered to it."""
        await self.send(data)
        return await self.until(data.split(b" ", 1)[0])

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()


def imap4(gateway: Running) -> imaplib.IMAP4:
    """An imaplib session of alice."""
    client = imaplib.IMAP4("127.0.0.1", gateway.port, timeout=20)
    client.login(ALICE, PASSWORD)
    return client


def client_of(gateway: Running, account: str = ALICE) -> IMAPClient:
    """An imapclient session."""
    client = IMAPClient("127.0.0.1", gateway.port, ssl=False, timeout=20)
    client.login(account, PASSWORD)
    return client


def tried(client: imaplib.IMAP4, *words: str) -> tuple[str, bytes]:
    """(OK, NO or BAD, and the text) of a command that imaplib may take for an error."""
    try:
        typ, data = client.xatom(*words)
    except imaplib.IMAP4.error as error:
        return "BAD", str(error).encode()
    return typ, data[0] or b""
