"""Consuming from RabbitMQ: frames in, single leases out, a frame acked when all are settled.

A frame that comes again because its holder died is split into single jobs, marked as suspects and
put back (confirmed), before any of them is handled: so the one that kills its holder does it
alone.  A frame with a job that takes very long lets the others go: after a minute what is not
settled is put again by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPException

from libs.common.queue import frame as frames
from libs.common.queue.frame import FramedJob
from libs.common.queue.protocol import Lease, QueueError
from libs.common.queue.topology import declare_all
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
PutFramed = Callable[[str, list[FramedJob]], Awaitable[None]]
STRAGGLER_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_FAULTS = (AMQPException, OSError, TimeoutError, RuntimeError)


class _Open:
    """A frame in hand: its message, and which of its jobs are not settled."""

    __slots__ = ("jobs", "message", "since", "unsettled")

    def __init__(self, message: AbstractIncomingMessage, jobs: list[FramedJob]) -> None:
        self.message = message
        self.jobs = jobs
        self.unsettled = set(range(len(jobs)))
        self.since = time.monotonic()


class RabbitLease:
    """A job of a frame; see `Lease`."""

    __slots__ = ("_at", "_consumer", "_frame", "attempt", "body", "suspect")

    def __init__(self, consumer: RabbitConsumer, frame: _Open, at: int) -> None:
        job = frame.jobs[at]
        self._consumer = consumer
        self._frame = frame
        self._at = at
        self.body = job.body
        self.attempt = job.attempt
        self.suspect = job.suspect

    async def ack(self) -> None:
        """Settle it; the last of a frame acks the frame."""
        await self._consumer.settle(self._frame, self._at)

    async def requeue(self, delay: float = 0.0) -> None:
        """Put it again after a while; until that is confirmed the frame stays unacked."""
        if self._at in self._frame.unsettled:
            self._consumer.again_later(self._frame, self._at, delay)


class RabbitConsumer:
    """A subscription that outlives connections; see `Consumer`."""

    def __init__(self, url: str, queue: str, prefetch: int, put: PutFramed) -> None:
        self.queue = queue
        self._url = url
        self._prefetch = prefetch
        self._put = put
        self._ready: deque[RabbitLease] = deque()
        self._frames: set[_Open] = set()
        self._leased = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._later: set[asyncio.Task[None]] = set()

    @property
    def held(self) -> int:
        """Jobs that are here and not settled."""
        return sum(len(frame.unsettled) for frame in self._frames)

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._closed:
            try:
                await self._consume_once()
            except asyncio.CancelledError:
                raise
            except (QueueError, *_FAULTS) as error:
                log.warning("consumer is away", queue=self.queue, error=str(error))
            self._forget()
            await asyncio.sleep(_AGAIN_SECONDS)

    def _forget(self) -> None:
        """The broker gives everything unacked to somebody else: nothing here counts any more."""
        self._ready.clear()
        self._frames.clear()
        self._leased = 0

    async def _consume_once(self) -> None:
        connection = await aio_pika.connect(self._url)
        async with connection:
            channel = await connection.channel()
            await declare_all(channel)
            # Frames hold up to 64 jobs, so a few frames are enough to be busy.
            await channel.set_qos(prefetch_count=max(2, self._prefetch // 32))
            queue = await channel.get_queue(self.queue)
            ended = asyncio.Event()
            connection.close_callbacks.add(lambda *_: ended.set())
            channel.close_callbacks.add(lambda *_: ended.set())
            tag = await queue.consume(self._arrived)
            # A deleted queue or a broker's basic.cancel ends the consumer without ending the
            # channel, so it is looked at now and then.
            while not ended.is_set():
                try:
                    async with asyncio.timeout(_AGAIN_SECONDS):
                        await ended.wait()
                except TimeoutError:
                    await self._tend()
                    underlay: Any = await channel.get_underlay_channel()
                    if tag not in underlay.consumers:
                        return

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        try:
            frame = frames.decode(message.body)
        except msgspec.MsgspecError as error:
            # Not ours: dead-lettered to the parked queue, where an operator finds it.
            log.error("frame cannot be read", queue=self.queue, error=str(error))
            await message.reject(requeue=False)
            return
        if message.redelivered and not (len(frame.jobs) == 1 and frame.jobs[0].suspect):
            await self._split(message, frame.jobs)
            return
        jobs = frame.jobs
        if message.redelivered:
            count = int(str((message.headers or {}).get("x-delivery-count", 1)))
            jobs = [replace_attempt(jobs[0], jobs[0].attempt + count)]
        opened = _Open(message, jobs)
        self._frames.add(opened)
        self._ready.extend(RabbitLease(self, opened, at) for at in range(len(jobs)))
        self._wake.set()

    async def _split(self, message: AbstractIncomingMessage, jobs: list[FramedJob]) -> None:
        singles = [FramedJob(job.body, job.put_at, job.attempt + 1, suspect=True) for job in jobs]
        try:
            await self._put(self.queue, singles)
        except QueueError as error:
            log.warning("frame is not split", queue=self.queue, error=str(error))
            await message.nack(requeue=True)
            return
        await message.ack()

    async def take(self, most: int) -> Sequence[Lease]:
        """Wait for a job, then give what is here."""
        while not self._closed:
            room = self._prefetch - self._leased
            if self._ready and room > 0:
                return self._give(min(most, room))
            self._wake.clear()
            await self._wake.wait()
        raise QueueError(f"consumer of {self.queue} is closed")

    def _give(self, most: int) -> list[Lease]:
        leases: list[Lease] = []
        while self._ready and len(leases) < most:
            if self._ready[0].suspect and leases:
                break
            lease = self._ready.popleft()
            leases.append(lease)
            if lease.suspect:
                break
        self._leased += len(leases)
        return leases

    async def settle(self, frame: _Open, at: int) -> None:
        """One job of a frame is done."""
        if frame not in self._frames or at not in frame.unsettled:
            return  # The connection was lost meanwhile: the job comes again, and bears it.
        frame.unsettled.discard(at)
        self._leased -= 1
        self._wake.set()
        if not frame.unsettled:
            self._frames.discard(frame)
            try:
                await frame.message.ack()
            except _FAULTS as error:
                log.info("ack is lost", queue=self.queue, error=str(error))

    def again_later(self, frame: _Open, at: int, delay: float) -> None:
        """Put a job again after some time, then settle it here."""
        task = asyncio.create_task(self._again(frame, at, delay))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _again(self, frame: _Open, at: int, delay: float) -> None:
        await asyncio.sleep(delay)
        job = frame.jobs[at]
        while frame in self._frames:
            try:
                await self._put(self.queue, [FramedJob(job.body, job.put_at, job.attempt + 1)])
            except QueueError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            await self.settle(frame, at)
            return

    async def _tend(self) -> None:
        """Let the settled jobs of an old frame go: put what is left of it by itself."""
        limit = time.monotonic() - STRAGGLER_SECONDS
        for frame in [f for f in self._frames if f.since < limit and len(f.jobs) > 1]:
            left = [frame.jobs[at] for at in sorted(frame.unsettled)]
            for job in left:
                try:
                    await self._put(self.queue, [job])
                except QueueError as error:
                    log.warning("stragglers stay", queue=self.queue, error=str(error))
                    return
            self._leased -= len(left)
            self._frames.discard(frame)
            frame.unsettled.clear()
            await frame.message.ack()

    async def close(self) -> None:
        """Stop taking; what is unsettled goes back to the broker with the connection."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        for task in self._later:
            task.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def replace_attempt(job: FramedJob, attempt: int) -> FramedJob:
    """The same job with another count."""
    return msgspec.structs.replace(job, attempt=attempt)
