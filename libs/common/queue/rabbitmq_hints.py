"""Broadcasts and replies through RabbitMQ: transient, without confirms, many in one message.

Each process has one exclusive queue that goes with it.  Hints that wait together for the same
listeners travel together; when the broker is away they are lost, which their contract allows, and
nobody ever waits for them.  What is for this process does not travel at all.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from libs.common.queue.local import Exchange
from libs.common.queue.protocol import QueueError
from libs.common.queue.rabbitmq_link import Link, lost
from libs.common.queue.topology import BROADCAST
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_REPLIES = "\0replies"
_AGAIN_SECONDS = 1.0
_SEND_SECONDS = 1.0
_READY_SECONDS = 5.0
_MOST_WAITING = 10_000
_TRANSIENT = 1

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


class Hints:
    """The broadcasts and replies of one process."""

    def __init__(self, publishing: Link, consuming: Link) -> None:
        self.address = f"holub.process.{uuid.uuid4().hex}"
        self._publishing = publishing
        self._consuming = consuming
        self._local = Exchange()
        self._topics: set[str] = set()
        self._bound = asyncio.Event()
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[tuple[str, str], list[bytes]] = {}
        self._sending: asyncio.Task[None] | None = None
        self._channel: AbstractChannel | None = None

    # Sending.

    def broadcast(self, topic: str, body: bytes) -> None:
        """To the listeners here at once, to those elsewhere with the next message."""
        self._local.send(topic, [body])
        self._send(BROADCAST, topic, [body])

    def reply(self, address: str, bodies: Sequence[bytes]) -> None:
        """To the process that has this address."""
        if address == self.address:
            self._local.send(_REPLIES, bodies)
        else:
            self._send("", address, bodies)

    def _send(self, exchange: str, key: str, bodies: Sequence[bytes]) -> None:
        waiting = self._waiting.setdefault((exchange, key), [])
        waiting.extend(bodies)
        del waiting[:-_MOST_WAITING]
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    channel = await self._open()
                    for (exchange, key), bodies in waiting.items():
                        await channel.basic_publish(
                            _encoder.encode(bodies),
                            exchange=exchange,
                            routing_key=key,
                            properties=Basic.Properties(
                                delivery_mode=_TRANSIENT, app_id=self.address
                            ),
                        )
            except BaseException as error:
                if not isinstance(error, QueueError) and not lost(error):
                    raise
                log.info("hints are lost", count=len(waiting), error=str(error))

    async def _open(self) -> AbstractChannel:
        connection = await self._publishing.connection()
        channel = self._channel
        if channel is None or channel.is_closed or channel.connection is not connection:
            channel = self._channel = await connection.channel(publisher_confirms=False)
        return channel

    # Listening.

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """What is broadcast from now on here, and elsewhere from when our queue is bound."""
        if topic not in self._topics:
            self._topics.add(topic)
            self._start()
        return self._local.listen(topic)

    def replies(self) -> AsyncIterator[bytes]:
        """Answers to this process."""
        self._start()
        return self._local.listen(_REPLIES)

    async def ready(self) -> None:
        """Wait, within a bound, until replies can reach us."""
        self._start()
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._bound.wait()
        except TimeoutError:
            log.warning("replies cannot reach this process yet")

    def _start(self) -> None:
        self._changed.set()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except BaseException as error:
                if not isinstance(error, Exception) and not lost(error):
                    raise
                log.info("not listening", error=repr(error))
            self._bound.clear()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        connection = await self._consuming.connection()
        channel = await connection.channel(publisher_confirms=False)
        try:
            await channel.queue_declare(self.address, exclusive=True, auto_delete=True)
            await channel.basic_consume(self.address, self._arrived, no_ack=True)
            channel.closing.add_done_callback(lambda _: self._changed.set())
            channel.on_consumer_cancel_callbacks.add(lambda _: channel.close())
            self._bound.set()
            await self._bind(channel)
        finally:
            if not channel.is_closed:
                async with asyncio.timeout(_SEND_SECONDS):
                    await channel.close()

    async def _bind(self, channel: AbstractChannel) -> None:
        """Bind what is listened to, until the channel is lost."""
        bound: set[str] = set()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if channel.is_closed:
                return
            for topic in sorted(self._topics - bound):
                await channel.queue_bind(self.address, BROADCAST, topic)
                bound.add(topic)

    async def _arrived(self, message: DeliveredMessage) -> None:
        if message.header.properties.app_id == self.address:
            return
        try:
            bodies = _decoder.decode(message.body)
        except msgspec.MsgspecError as error:
            log.warning("hint cannot be read", error=str(error))
            return
        topic = message.routing_key or "" if message.exchange == BROADCAST else _REPLIES
        self._local.send(topic, bodies)

    async def close(self) -> None:
        """Send what waits, then stop listening."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=_SEND_SECONDS)
            self._sending.cancel()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
