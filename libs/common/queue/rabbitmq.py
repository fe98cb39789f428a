"""The queue on RabbitMQ: quorum queues, confirms, and frames of jobs.

Publishing and consuming use connections of their own, since an alarm blocks a publishing
connection as a whole.  A publish that is not confirmed in time ends its connection, because it
usually lands anyway once the broker wakes up, and the caller was told that it did not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPException, QueueEmpty

from libs.common.queue import frame as frames
from libs.common.queue.frame import FramedJob
from libs.common.queue.local import Exchange
from libs.common.queue.protocol import Depth, QueueError
from libs.common.queue.rabbitmq_consumer import RabbitConsumer
from libs.common.queue.topology import BROADCAST, declare, declare_all
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
PUBLISH_SECONDS = 5.0
CONNECT_SECONDS = 5.0
_IN_FLIGHT = 32
_FAULTS = (AMQPException, OSError, TimeoutError, asyncio.CancelledError, RuntimeError)
_REPLIES = "\0replies"
_AGAIN_SECONDS = 1.0


class _Put:
    __slots__ = ("future", "jobs")

    def __init__(self, jobs: list[FramedJob], future: asyncio.Future[None]) -> None:
        self.jobs = jobs
        self.future = future


class RabbitQueue:
    """A `Queue` on one broker or cluster."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._publishing: tuple[AbstractConnection, AbstractChannel] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[str, list[_Put]] = {}
        self._flushing: set[str] = set()
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._consumers: list[RabbitConsumer] = []
        self._exchange = Exchange()
        self._name = f"holub.reply.{uuid.uuid4().hex}"
        self._listening: asyncio.Task[None] | None = None
        self._bound = asyncio.Event()
        self._closed = False

    # Publishing.

    async def put(self, queue: str, jobs: Sequence[bytes]) -> None:
        """Confirmed by a majority of the broker's replicas on return."""
        now = time.time()
        await self.put_framed(queue, [FramedJob(body, now) for body in jobs])

    async def put_framed(self, queue: str, jobs: list[FramedJob]) -> None:
        """The same, for jobs that carry their attempts."""
        if self._closed:
            raise QueueError("the queue is closed")
        put = _Put(jobs, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(queue, []).append(put)
        if queue not in self._flushing:
            self._flushing.add(queue)
            self._spawn(self._flush(queue))
        await put.future

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self, queue: str) -> None:
        """Send what waits; what comes in meanwhile is the next frame."""
        try:
            while self._waiting.get(queue):
                async with self._slots:
                    # One turn of the loop, so that puts of the same moment share a frame.
                    await asyncio.sleep(0)
                    puts = self._waiting.pop(queue, [])
                if puts:
                    await self._send(queue, puts)
        finally:
            self._flushing.discard(queue)

    async def _send(self, queue: str, puts: list[_Put]) -> None:
        jobs = [job for put in puts for job in put.jobs]
        try:
            channel = await self._channel()
            async with asyncio.timeout(PUBLISH_SECONDS):
                await asyncio.gather(
                    *(self._publish(channel, queue, part) for part in frames.split(queue, jobs))
                )
        except _FAULTS as error:
            await self._drop_publishing()
            for put in puts:
                if not put.future.done():
                    put.future.set_exception(QueueError(f"not confirmed: {error or 'in time'}"))
            return
        for put in puts:
            if not put.future.done():
                put.future.set_result(None)

    @staticmethod
    async def _publish(channel: AbstractChannel, queue: str, jobs: list[FramedJob]) -> None:
        message = aio_pika.Message(
            frames.encode(jobs),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            # Fresh for every publish: the client matches returns by it.
            message_id=uuid.uuid4().hex,
            headers={"jobs": len(jobs)},
        )
        await channel.default_exchange.publish(message, queue, mandatory=True)

    async def _channel(self) -> AbstractChannel:
        async with self._connecting:
            if self._publishing is not None:
                connection, channel = self._publishing
                if not (connection.is_closed or channel.is_closed):
                    return channel
                await self._drop_publishing()
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await aio_pika.connect(self._url)
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                await declare_all(channel)
            self._publishing = (connection, channel)
            return channel

    async def _drop_publishing(self) -> None:
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(1):
                    await publishing[0].close()

    # Consuming.

    async def consume(self, queue: str, prefetch: int) -> RabbitConsumer:
        """Subscribe; it connects again by itself for as long as it is open."""
        consumer = RabbitConsumer(self._url, queue, prefetch, self.put_framed)
        consumer.start()
        self._consumers.append(consumer)
        return consumer

    async def depth(self, queue: str) -> Depth:
        """Frames of the broker times the jobs in the oldest; exact for single jobs.

        The broker counts frames.  The oldest ready frame is looked at and put back, which also
        gives the age.
        """
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                connection = await aio_pika.connect(self._url)
                async with connection:
                    channel = await connection.channel()
                    return await self._look(channel, queue)
        except _FAULTS as error:
            raise QueueError(f"cannot look at {queue}: {error or 'no answer in time'}") from error

    async def _look(self, channel: AbstractChannel, queue: str) -> Depth:
        await declare(channel, queue)
        found = await channel.get_queue(queue)
        held = sum(c.held for c in self._consumers if c.queue == queue)
        try:
            message = await found.get(no_ack=False)
        except QueueEmpty:
            return Depth(held, 0.0)
        ready = (found.declaration_result.message_count or 0) or 1
        oldest = frames.decode(message.body)
        await message.nack(requeue=True)
        age = max(0.0, time.time() - min(job.put_at for job in oldest.jobs))
        return Depth(ready * len(oldest.jobs) + held, age)

    # Broadcasts and replies.

    async def broadcast(self, topic: str, body: bytes) -> None:
        """A hint: when the broker is away it is lost, and everybody finds out by themselves."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                channel = await self._channel()
                exchange = await channel.get_exchange(BROADCAST, ensure=False)
                await exchange.publish(aio_pika.Message(body), topic, mandatory=False)
        except _FAULTS as error:
            log.info("broadcast is lost", topic=topic, error=str(error))

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """From now on."""
        self._start_listening()
        return self._exchange.listen(topic)

    async def reply_address(self) -> str:
        """The queue of this process, which goes when it goes."""
        self._start_listening()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._bound.wait()
        return self._name

    async def reply(self, address: str, bodies: Sequence[bytes]) -> None:
        """Many answers in one message; lossy."""
        jobs = [FramedJob(body, 0.0) for body in bodies]
        message = aio_pika.Message(frames.encode(jobs), message_id=uuid.uuid4().hex)
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                channel = await self._channel()
                await channel.default_exchange.publish(message, address, mandatory=False)
        except _FAULTS as error:
            log.info("reply is lost", error=str(error))

    def replies(self) -> AsyncIterator[bytes]:
        """Answers to this process."""
        self._start_listening()
        return self._exchange.listen(_REPLIES)

    def _start_listening(self) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        """Keep a queue of our own bound, and connect again for ever."""
        while True:
            try:
                await self._listen_once()
            except asyncio.CancelledError:
                raise
            except _FAULTS as error:
                log.info("not listening", error=str(error))
            self._bound.clear()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        connection = await aio_pika.connect(self._url)
        async with connection:
            channel = await connection.channel()
            await declare_all(channel)
            queue = await channel.declare_queue(self._name, exclusive=True, auto_delete=True)
            exchange = await channel.get_exchange(BROADCAST, ensure=False)
            await queue.bind(exchange, "#")
            ended = asyncio.Event()
            connection.close_callbacks.add(lambda *_: ended.set())
            channel.close_callbacks.add(lambda *_: ended.set())
            await queue.consume(self._deliver, no_ack=True)
            self._bound.set()
            await ended.wait()

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        if message.exchange == BROADCAST:
            self._exchange.send(message.routing_key or "", [message.body])
        else:
            answers = frames.decode(message.body)
            self._exchange.send(_REPLIES, [job.body for job in answers.jobs])

    async def healthy(self) -> bool:
        """Is a connection for publishing open, or can one be opened?"""
        try:
            await self._channel()
        except (QueueError, *_FAULTS):
            return False
        return True

    async def close(self) -> None:
        """Send what waits, then disconnect."""
        self._closed = True
        for consumer in self._consumers:
            await consumer.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PUBLISH_SECONDS)
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._drop_publishing()
