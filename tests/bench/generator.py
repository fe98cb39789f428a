"""A neutral SMTP load generator, a process of its own: `python -m tests.bench.generator`.

It builds all octets first, says `ready`, and begins at the first line on its standard input; the
result is one JSON object (`Sent`).  A latency is the time from the write that ends with the final
dot to the reply.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from tests.bench.workload import LOADS, Message, Workload, address

Replies = Generator[None, bytes, None]


class Sent(msgspec.Struct, frozen=True):
    """What happened.  Times are those of the monotonic clock, which all processes share."""

    sent: int
    refused: list[str]
    """The replies that were not the expected ones."""
    began: float
    """The first MAIL."""
    ended: float
    """The last reply."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_seconds: float


@dataclass(slots=True)
class Order:
    """Messages still to be sent, and what became of those that were."""

    messages: Iterator[Message]
    accounts: int
    domain: str
    pipelining: bool
    latencies: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def envelope(self, message: Message) -> tuple[bytes, bytes]:
        """MAIL and RCPT."""
        recipient = address(message.number, self.accounts, self.domain)
        return (
            b"MAIL FROM:<sender@bench.example>\r\n",
            f"RCPT TO:<{recipient}>\r\n".encode(),
        )


class Connection(asyncio.Protocol):
    """One SMTP session of at most `budget` messages; `closed` is done at its end."""

    def __init__(self, order: Order, budget: int) -> None:
        self._order = order
        self._budget = budget
        self._buffer = b""
        self._message: Message | None = None
        self._script = self._session()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the interface, not the base class.
        self._transport = cast(asyncio.Transport, transport)
        next(self._script)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            try:
                self._script.send(line)
            except (StopIteration, _Refused):
                self._transport.close()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        if self._message is not None:
            self._order.refused.append(f"connection lost in a transaction: {exc}")
        if not self.closed.done():
            self.closed.set_result(None)

    def _session(self) -> Replies:
        """A whole session; each `yield` takes the next reply."""
        yield from self._expect(b"220")
        self._transport.write(b"EHLO bench.example\r\n")
        yield from self._expect(b"250")
        while self._budget and (message := next(self._order.messages, None)):
            self._message = message
            self._budget -= 1
            yield from self._transaction(message)
            self._message = None
        self._transport.write(b"QUIT\r\n")
        yield from self._expect(b"221")

    def _transaction(self, message: Message) -> Replies:
        mail, rcpt = self._order.envelope(message)
        if self._order.pipelining:
            self._transport.write(mail + rcpt + b"DATA\r\n")
            yield from self._expect(b"250")
            yield from self._expect(b"250")
        else:
            self._transport.write(mail)
            yield from self._expect(b"250")
            self._transport.write(rcpt)
            yield from self._expect(b"250")
            self._transport.write(b"DATA\r\n")
        yield from self._expect(b"354")
        dot_at = time.monotonic()
        self._transport.writelines((message.head, message.wire))
        yield from self._expect(b"250")
        self._order.latencies.append(time.monotonic() - dot_at)

    def _expect(self, code: bytes) -> Replies:
        line = yield
        if line[:3] != code:
            # A run with a refusal does not count, so nothing is tried again.
            self._message = None
            self._order.refused.append(line.decode("utf-8", "replace"))
            raise _Refused


class _Refused(Exception):
    """The session ends here."""


async def _worker(port: int, order: Order, per_connection: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        remaining = len(order.latencies)
        _, connection = await loop.create_connection(
            lambda: Connection(order, per_connection), "127.0.0.1", port
        )
        await connection.closed
        if order.refused or len(order.latencies) == remaining:
            return


async def send(port: int, order: Order, connections: int, per_connection: int) -> Sent:
    """Send all of an order."""
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(_worker(port, order, per_connection) for _ in range(connections)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    ended = time.monotonic()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    times = sorted(order.latencies) or [0.0]
    return Sent(
        sent=len(order.latencies),
        refused=order.refused[:10],
        began=began,
        ended=ended,
        p50_ms=_percentile(times, 0.50),
        p90_ms=_percentile(times, 0.90),
        p99_ms=_percentile(times, 0.99),
        max_ms=times[-1] * 1000,
        cpu_seconds=cpu,
    )


def _percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] * 1000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--load", choices=LOADS, default="4k")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--per-connection", type=int, default=100)
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--domain", default="example.test")
    return parser.parse_args()


def main() -> None:
    """Build, wait for the word, send, report."""
    asked = _arguments()
    workload = Workload(asked.load, asked.seed)
    numbers = range(asked.first, asked.first + asked.messages)
    messages = [workload.message(number) for number in numbers]
    print("ready", flush=True)
    sys.stdin.readline()
    order = Order(iter(messages), asked.accounts, asked.domain, asked.pipelining)
    result = uvloop.run(send(asked.port, order, asked.connections, asked.per_connection))
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
