"""The other host: an SMTP server on a socket that follows a script and notes what it saw."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

EHLO = ("PIPELINING", "SIZE 10000000", "8BITMIME", "DSN", "SMTPUTF8")


@dataclass(frozen=True, slots=True)
class Taken:
    """One transaction that was answered 250, or would have been."""

    mail: str
    recipients: tuple[str, ...]
    content: bytes
    """As it came over the wire, dots undone."""
    connection: int
    tls: bool


@dataclass
class Script:
    """What the host answers; an empty string closes the connection instead."""

    extensions: tuple[str, ...] = EHLO
    greeting: str = "220 mx.other.test ESMTP"
    ehlo: str = "250"
    mail: Callable[[str], str] = lambda line: "250 2.1.0 OK"
    rcpt: Callable[[str], str] = lambda address: "250 2.1.5 OK"
    data: str = "354 go on"
    content: Callable[[bytes], str] = lambda content: "250 2.0.0 taken"
    tls: ssl.SSLContext | None = None
    before_data: Callable[[], asyncio.Future[None]] | None = None
    before_answer: Callable[[], asyncio.Future[None]] | None = None
    most_per_connection: int = 1000


@dataclass
class Host:
    """Listens on a free port of 127.0.0.1."""

    script: Script = field(default_factory=Script)
    taken: list[Taken] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 26
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await _Session(self, reader, writer, self.connections).run()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class _Close(Exception):
    pass


class _Session:
    def __init__(
        self,
        host: Host,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._number = number
        self._tls = False
        self._mail = ""
        self._recipients: list[str] = []
        self._count = 0

    async def run(self) -> None:
        try:
            await self._say(self._host.script.greeting)
            while True:
                line = (await self._reader.readuntil(b"\r\n")).decode()[:-2]
                self._host.lines.append(line)
                await self._command(line)
        except _Close:
            return

    async def _say(self, reply: str) -> None:
        if not reply:
            raise _Close
        self._writer.write(f"{reply}\r\n".encode())
        await self._writer.drain()
        if reply.startswith(("221", "421")):
            raise _Close

    async def _command(self, line: str) -> None:
        script = self._host.script
        match line.upper().split(" ", 1)[0].split(":", 1)[0]:
            case "EHLO":
                await self._ehlo()
            case "HELO":
                await self._say("250 mx.other.test")
            case "STARTTLS":
                await self._start_tls()
            case "MAIL":
                if self._count >= script.most_per_connection:
                    await self._say("")
                self._mail, self._recipients = line, []
                await self._say(script.mail(line))
            case "RCPT":
                await self._rcpt(line.partition("<")[2].partition(">")[0])
            case "DATA":
                await self._data()
            case "RSET" | "NOOP":
                await self._say("250 2.0.0 OK")
            case "QUIT":
                await self._say("221 2.0.0 bye")
            case _:
                await self._say("502 5.5.1 no such command")

    async def _start_tls(self) -> None:
        await self._say("220 2.0.0 go on")
        assert self._host.script.tls
        await self._writer.start_tls(self._host.script.tls)
        self._tls = True

    async def _rcpt(self, address: str) -> None:
        reply = self._host.script.rcpt(address)
        if reply.startswith("2"):
            self._recipients.append(address)
        await self._say(reply)

    async def _ehlo(self) -> None:
        script = self._host.script
        if not script.ehlo.startswith("250"):
            await self._say(script.ehlo)
            return
        words = list(script.extensions)
        if script.tls and not self._tls:
            words.append("STARTTLS")
        lines = ["mx.other.test", *words]
        text = "".join(f"250-{word}\r\n" for word in lines[:-1]) + f"250 {lines[-1]}"
        await self._say(text)

    async def _data(self) -> None:
        script = self._host.script
        if script.before_data:
            await script.before_data()
        await self._say(script.data if self._recipients else "554 5.5.1 no valid recipients")
        if not self._recipients or not script.data.startswith("354"):
            return
        lines = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        content = b"".join(lines)
        if script.before_answer:
            await script.before_answer()
        reply = script.content(content)
        if reply.startswith("2") or not reply:
            self._host.taken.append(
                Taken(self._mail, tuple(self._recipients), content, self._number, self._tls)
            )
        self._count += 1
        await self._say(reply)
