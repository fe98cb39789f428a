"""A connection to RabbitMQ that is made when it is needed, and made again after it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import aiormq
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import AMQPError
from yarl import URL

from libs.common.queue.protocol import QueueError
from libs.common.queue.topology import declare

if TYPE_CHECKING:
    from aiormq.abc import AbstractConnection

CONNECT_SECONDS = 15.0
"""A broker that has just started, or is busy, may take long to let us in and to declare."""
_CLOSE_SECONDS = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 2.0
_HEARTBEAT_SECONDS = 15

FAULTS = (AMQPError, OSError, RuntimeError, TimeoutError, EOFError)
"""What a broker that is away, or goes away, may raise here."""


class TopologyError(QueueError):
    """The broker holds queues that are not as they must be: an operator has to act."""


class _Transport(TransportFactory):
    """Remembers the socket of the newest connection."""

    def __init__(self, factory: type[TransportFactory]) -> None:
        self._factory = factory()
        self.writer: asyncio.StreamWriter | None = None

    async def create(
        self, url: URL, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self.writer = await self._factory.create(url, **kwargs)
        return reader, self.writer


class Link:
    """One connection, shared by those who ask for it."""

    def __init__(self, url: str, purpose: str) -> None:
        tls = url.startswith("amqps:")
        self._url = URL(url).update_query(heartbeat=_HEARTBEAT_SECONDS, name=f"holub {purpose}")
        self._transport = _Transport(TLSTransportFactory if tls else TCPTransportFactory)
        self._connection: AbstractConnection | None = None
        self._attempt: asyncio.Task[AbstractConnection] | None = None
        self._checked = False
        self._declaring = asyncio.Lock()
        self._again_at = 0.0
        self._pause = _FIRST_PAUSE
        self._why = ""
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def connection(self) -> AbstractConnection:
        """The connection, made now if need be; `QueueError` at once while the broker is known to
        be away.

        Who gives up waiting does not end the attempt, which others wait for too.
        """
        if self._connection is not None and self._connection.is_opened:
            return self._connection
        if self._closed:
            raise QueueError("the queue is closed")
        if self._attempt is None or self._attempt.done():
            if asyncio.get_running_loop().time() < self._again_at:
                raise QueueError(f"the broker is away: {self._why}")
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(_look_at)
        return await asyncio.shield(self._attempt)

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await aiormq.connect(self._url, transport_factory=self._transport)
                if not self._checked:
                    await declare(connection)
        except BaseException as error:
            if connection is not None:
                self._drop(connection)
            if not isinstance(error, QueueError) and not lost(error):
                raise
            self._fail(error)
            if isinstance(error, QueueError):
                raise TopologyError(str(error)) from error
            raise QueueError(f"the broker is away: {self._why}") from error
        self._checked = True
        self._pause = _FIRST_PAUSE
        self._connection = connection
        return connection

    def _fail(self, error: BaseException) -> None:
        # The URL has a password, so it is not named.
        self._why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._again_at = asyncio.get_running_loop().time() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def drop(self, connection: AbstractConnection) -> None:
        """Cut a connection that does not answer; the next one is made anew.

        A polite close would wait in line behind what was published, and a broker that wakes up
        meanwhile would take it: a reset discards what it has not read (most of the time).
        """
        if self._connection is connection:
            self._connection = None
            self._cut()
        self._drop(connection)

    def _cut(self) -> None:
        writer = self._transport.writer
        if writer is not None and (raw := writer.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _drop(self, connection: AbstractConnection) -> None:
        task = asyncio.create_task(_close(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def redeclare(self, connection: AbstractConnection, queue: str) -> None:
        """This queue is not there: declare it, and everything else that should be."""
        async with self._declaring, asyncio.timeout(CONNECT_SECONDS):
            await declare(connection, queue)

    async def close(self) -> None:
        """Disconnect for good."""
        self._closed = True
        if self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        if self._connection is not None:
            self._drop(self._connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(*FAULTS):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.close(ConnectionError("closed by us"))


def _look_at(attempt: asyncio.Task[AbstractConnection]) -> None:
    """Nobody may be left to hear of its failure."""
    if not attempt.cancelled():
        attempt.exception()


def _from_library(error: BaseException) -> bool:
    """A CancelledError that nobody of ours asked for: the library ends its tasks like that."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or not task.cancelling())


def lost(error: BaseException) -> bool:
    """Does this error mean that the connection or the broker is away?"""
    return isinstance(error, FAULTS) or _from_library(error)
