"""A TCP proxy that makes the network, or the server behind it, fail on demand.

As a plain proxy it delays, blackholes, resets and cuts connections of any protocol.  With
`http=True` it also understands requests, and can answer 500 before or after the server did the
work, lose the answer, stall, or cut a body short: the wrong-looking errors of an S3.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_BLOCK = 64 * 1024


class Action(StrEnum):
    """What a fault does to one HTTP exchange."""

    ERROR_BEFORE = "500, and the server never sees the request"
    ERROR_AFTER = "500, after the server did the work"
    DROP_AFTER = "the connection ends in place of the answer"
    STALL_BEFORE = "nothing happens for a while; then the request goes on"
    STALL_AFTER = "the server did the work, the answer comes late"
    TRUNCATE = "the body of the answer ends early"
    FLIP = "one octet of the body of the answer is another"


@dataclass(frozen=True, slots=True)
class Fault:
    """Which exchanges are hit, and by what."""

    action: Action
    method: str = ""
    path: str = ""
    """A part of the request target; empty: any."""
    times: int | None = 1
    """How many exchanges at most; None: all until `heal`."""
    chance: float = 1.0
    seconds: float = 30.0
    octets: int = 100
    """How much of the body is let through, or which octet is changed."""

    def hits(self, method: str, target: str, rng: random.Random) -> bool:
        """Is it meant for this request?"""
        meant = self.method in ("", method) and self.path in target
        return meant and rng.random() < self.chance


@dataclass(slots=True)
class _Armed:
    fault: Fault
    left: int | None


class FaultProxy:
    """Listens on 127.0.0.1:`port` and hands everything on to one upstream; a context manager."""

    def __init__(self, host: str, port: int, *, http: bool = False, seed: int = 0) -> None:
        self._upstream = host, port
        self._http = http
        self._rng = random.Random(seed)
        self._armed: list[_Armed] = []
        self._server: asyncio.Server | None = None
        self._live: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._delay = 0.0
        self._cut: int | None = None
        self.port = 0
        self.hits: Counter[Action] = Counter()
        """How often each action took effect."""
        self.requests: Counter[str] = Counter()
        """HTTP requests by method."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Faults of the link, for every protocol.

    def delay(self, seconds: float) -> None:
        """Each block of octets comes this much later, in both directions."""
        self._delay = seconds

    def blackhole(self) -> None:
        """Nothing goes through any more, and nobody is told."""
        self._open.clear()

    def cut_after(self, octets: int) -> None:
        """Each connection is reset when the server has sent so much on it."""
        self._cut = octets

    def refuse(self) -> None:
        """New connections are closed at once, and the live ones are reset."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """RST on all connections of now."""
        for writer in list(self._live):
            _abort(writer)

    def inject(self, fault: Fault) -> None:
        """Arm a fault of HTTP; those armed first are asked first."""
        self._armed.append(_Armed(fault, fault.times))

    def heal(self) -> None:
        """Disarm everything."""
        self._armed.clear()
        self._delay, self._cut, self._refusing = 0.0, None, False
        self._open.set()

    # Connections.

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._live.add(writer)
        try:
            if not self._refusing:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two sides is gone
        finally:
            self._live.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._live.add(up_writer)
        try:
            if self._http:
                await self._converse(_Side(reader, writer), _Side(up_reader, up_writer))
                return
            pumps = [
                asyncio.create_task(self._pump(reader, up_writer, None)),
                asyncio.create_task(self._pump(up_reader, writer, self._cut)),
            ]
            try:
                await asyncio.wait(pumps)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._live.discard(up_writer)
            up_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None
    ) -> None:
        while data := await reader.read(_BLOCK):
            await self._pass()
            if cut is not None and len(data) >= cut:
                writer.write(data[:cut])
                await writer.drain()
                _abort(writer)
                return
            cut = None if cut is None else cut - len(data)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _pass(self) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._open.wait()

    # HTTP.

    async def _converse(self, client: _Side, server: _Side) -> None:
        while head := await client.head():
            method, target = head.split(b" ", 2)[:2]
            verb = method.decode("latin-1")
            self.requests[verb] += 1
            body = await client.body(head)
            fault = self._pick(verb, target.decode("latin-1"))
            await self._pass()
            if fault and not await self._before(fault, client):
                return
            server.writer.write(head + body)
            await server.writer.drain()
            answer, content = await server.answer(verb)
            await self._pass()
            if fault and not await self._after(fault, client, answer, content):
                return
            if not fault or fault.action in (Action.STALL_BEFORE, Action.STALL_AFTER):
                client.writer.write(answer + content)
            await client.writer.drain()

    def _pick(self, method: str, target: str) -> Fault | None:
        for armed in self._armed:
            if armed.left == 0 or not armed.fault.hits(method, target, self._rng):
                continue
            if armed.left is not None:
                armed.left -= 1
            self.hits[armed.fault.action] += 1
            return armed.fault
        return None

    async def _before(self, fault: Fault, client: _Side) -> bool:
        """False: the connection is done with."""
        if fault.action is Action.ERROR_BEFORE:
            await client.fail()
            return False
        if fault.action is Action.STALL_BEFORE:
            await asyncio.sleep(fault.seconds)
        return True

    async def _after(self, fault: Fault, client: _Side, answer: bytes, content: bytes) -> bool:
        """False: the connection is done with."""
        match fault.action:
            case Action.ERROR_AFTER:
                await client.fail()
                return False
            case Action.DROP_AFTER:
                _abort(client.writer)
                return False
            case Action.TRUNCATE:
                client.writer.write(answer + content[: fault.octets])
                await client.writer.drain()
                return False
            case Action.FLIP:
                at = min(fault.octets, len(content) - 1)
                changed = bytearray(content)
                changed[at : at + 1] = bytes([content[at] ^ 1]) if content else b""
                client.writer.write(answer + changed)
            case Action.STALL_AFTER:
                await asyncio.sleep(fault.seconds)
        return True


@dataclass(slots=True)
class _Side:
    """One end of an HTTP connection, read message by message."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        """First line and fields with the empty line; nothing when the other side is done."""
        lines = []
        while line := await self.reader.readline():
            lines.append(line)
            if line in (b"\r\n", b"\n"):
                return b"".join(lines)
        return b""

    async def body(self, head: bytes, *, to_the_end: bool = False) -> bytes:
        """What belongs to this head, as it came."""
        fields = _fields(head)
        if "chunked" in fields.get("transfer-encoding", ""):
            return await self._chunks()
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        return await self.reader.read() if to_the_end else b""

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            line = await self.reader.readline()
            parts.append(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                # Trailing fields, and the empty line.
                return b"".join([*parts, await self.head()])
            parts.append(await self.reader.readexactly(size + 2))

    async def answer(self, method: str) -> tuple[bytes, bytes]:
        """Head and body of the final answer."""
        while True:
            head = await self.head()
            if not head:
                raise ConnectionResetError("the server closed the connection")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        empty = method == "HEAD" or status in (204, 304)
        return head, b"" if empty else await self.body(head, to_the_end=True)

    async def fail(self) -> None:
        """An internal error, and no more requests on this connection."""
        self.writer.write(
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await self.writer.drain()


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").splitlines()[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST: what is on its way is thrown away."""
    link: socket.socket | None = writer.get_extra_info("socket")
    if link is not None:
        with contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
