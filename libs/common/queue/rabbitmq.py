"""The queue on RabbitMQ 3.10 and later: quorum queues, confirms, and frames of jobs.

Publishing and consuming use connections of their own, since an alarm blocks a publishing
connection as a whole.  What is exact: nothing that was put is lost, attempts, prefetch, order
within one publisher while nothing fails.  What is not: `depth` (see there), delays (rounded up to
the steps of `topology.DELAYS`), and that a job may come twice after faults, as everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from libs.common.queue.frame import FramedJob
from libs.common.queue.protocol import QUEUES, Depth, Lease, QueueError
from libs.common.queue.rabbitmq_consumer import RabbitConsumer
from libs.common.queue.rabbitmq_hints import Hints
from libs.common.queue.rabbitmq_link import Link, lost
from libs.common.queue.rabbitmq_parked import drain
from libs.common.queue.rabbitmq_publisher import PUBLISH_SECONDS, Publisher
from libs.common.queue.topology import queues_of, ready


class RabbitQueue:
    """A `Queue` on one broker or cluster."""

    def __init__(self, url: str) -> None:
        self._publishing = Link(url, "publishing")
        self._consuming = Link(url, "consuming")
        self._publisher = Publisher(self._publishing)
        self._hints = Hints(self._publishing, self._consuming)
        self._consumers: set[RabbitConsumer] = set()
        self._nonempty_since: dict[str, float] = {}
        self._closed = False

    async def put(self, queue: str, jobs: Sequence[bytes]) -> None:
        """Confirmed by a majority of the broker's replicas on return."""
        _check(queue)
        if self._closed:
            raise QueueError("the queue is closed")
        now = time.time()
        await self._publisher.put(queue, [FramedJob(body, now) for body in jobs])

    async def consume(self, queue: str, prefetch: int) -> RabbitConsumer:
        """Subscribe, now or when the broker is back; `QueueError` when its queues are wrong."""
        _check(queue)
        consumer = RabbitConsumer(self._consuming, self._publisher, queue, prefetch)
        await consumer.start()
        self._consumers = {other for other in self._consumers if not other.closed}
        self._consumers.add(consumer)
        return consumer

    async def depth(self, queue: str) -> Depth:
        """Jobs in ready frames and on delay, and those in hand here; not those in hand elsewhere.

        The broker counts frames, so theirs is an estimate: frames times the average that this
        process has received of late (exact for queues whose jobs travel alone; one job a frame,
        so too few, in a process that received none).  The age is exact for jobs in hand, which
        are the oldest when we consume; else it is how long we have seen the queue not empty.
        """
        frames, singles = await self._frames(queue)
        consumers = [c for c in self._consumers if c.queue == queue and not c.closed]
        average = max((c.jobs_per_frame for c in consumers), default=1.0)
        jobs = sum(c.jobs for c in consumers) + singles + round(frames * average)
        if not jobs:
            self._nonempty_since.pop(queue, None)
            return Depth(0, 0.0)
        now = time.time()
        since = self._nonempty_since.setdefault(queue, now)
        oldest = min((o for c in consumers if (o := c.oldest) is not None), default=since)
        return Depth(jobs, max(0.0, now - oldest))

    async def _frames(self, queue: str) -> tuple[int, int]:
        """Ready frames of the queue itself, and of those that hold single jobs."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                connection = await self._publishing.connection()
                first, *others = [await ready(connection, name) for name in queues_of(queue)]
        except BaseException as error:
            if isinstance(error, QueueError) or not lost(error):
                raise
            raise QueueError(f"cannot look at {queue}: {error!r}") from error
        return first, sum(others)

    async def drain_parked(self, park: Callable[[str, Lease, str], Awaitable[None]]) -> int:
        """What the broker dead-lettered, job by job; an unreadable frame as one job."""
        return await drain(self._publishing, park)

    async def broadcast(self, topic: str, body: bytes) -> None:
        """A hint: when the broker is away it is lost, and everybody finds out by themselves."""
        self._hints.broadcast(topic, body)

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """From now on."""
        return self._hints.listen(topic)

    async def reply_address(self) -> str:
        """The queue of this process, which goes when it goes."""
        await self._hints.ready()
        return self._hints.address

    async def reply(self, address: str, bodies: Sequence[bytes]) -> None:
        """Answers that wait together travel together."""
        self._hints.reply(address, bodies)

    def replies(self) -> AsyncIterator[bytes]:
        """Answers to this process."""
        return self._hints.replies()

    async def healthy(self) -> bool:
        """Is the broker there, and does it confirm in time?"""
        if self._closed or self._publisher.slow:
            return False
        try:
            await self._publishing.connection()
        except QueueError:
            return False
        return True

    async def close(self) -> None:
        """Give back what is in hand, send what waits, disconnect."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        await self._publisher.close()
        await self._hints.close()
        await self._consuming.close()
        await self._publishing.close()


def _check(queue: str) -> None:
    if queue not in QUEUES:
        raise ValueError(f"there is no queue {queue!r}")
