"""Consuming from RabbitMQ: frames in, single leases out, a frame acked when all are settled.

A frame that comes again because its holder died is split into single jobs, marked as suspects and
put (confirmed) on the queue of suspects, before any of them is handled: so the one that kills its
holder does it alone.  When only the connection was lost, the frame is recognised and nothing is
counted.  A frame with a job that takes very long lets the others go: a minute after the last of
them was settled, what is left is put again by itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from aiormq.abc import AbstractChannel, DeliveredMessage
from prometheus_client import Counter

from libs.common.queue import frame as framing
from libs.common.queue.frame import FramedJob, FrameError
from libs.common.queue.protocol import Lease, QueueError
from libs.common.queue.rabbitmq_held import HeldFrame, RabbitLease, State
from libs.common.queue.rabbitmq_link import Link, lost
from libs.common.queue.rabbitmq_publisher import PUBLISH_SECONDS, Publisher
from libs.common.queue.rabbitmq_subscription import Subscription
from libs.common.queue.ready import Ready
from libs.common.queue.topology import later, suspects
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_UNREADABLE = Counter("holub_queue_unreadable_frames_total", "Frames put aside.", ["queue"])
_SPLIT = Counter("holub_queue_split_frames_total", "Frames of a dead holder.", ["queue"])

STRAGGLER_SECONDS = 60.0
_TEND_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
_FORGET_SECONDS = 600.0
_REMEMBERED = 4096


class RabbitConsumer:
    """A subscription that outlives connections; see `Consumer`."""

    def __init__(self, link: Link, publisher: Publisher, queue: str, prefetch: int) -> None:
        self.queue = queue
        self._publisher = publisher
        self._ready: Ready[RabbitLease] = Ready(prefetch)
        self._held: dict[str, HeldFrame] = {}
        # Acks may be lost with their connection: these frames are done, should they come again.
        self._done: OrderedDict[str, None] = OrderedDict()
        self._splitting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._tending: asyncio.Task[None] | None = None
        self._subscription = Subscription(link, queue, prefetch, self._arrived, self._detached)

    async def start(self) -> None:
        """Subscribe; `QueueError` only for what will not heal by itself."""
        await self._subscription.start()
        self._tending = asyncio.create_task(self._tend())

    @property
    def closed(self) -> bool:
        """No jobs are taken any more."""
        return self._closed

    @property
    def jobs(self) -> int:
        """Jobs that are here and not settled."""
        return sum(held.unsettled for held in self._held.values())

    @property
    def jobs_per_frame(self) -> float:
        """The average of late; 1 when none came yet."""
        return self._subscription.jobs_per_frame

    @property
    def oldest(self) -> float | None:
        """When the oldest job that is here was put first (unix time)."""
        return min(
            (
                lease.job.put_at
                for held in self._held.values()
                for lease in held.leases
                if lease.state is not State.SETTLED
            ),
            default=None,
        )

    def _detached(self) -> None:
        """What waits here is given to somebody else now, or to us again."""
        self._ready.clear()
        for held in self._held.values():
            held.detach()

    # Frames that arrive.

    async def _arrived(self, message: DeliveredMessage) -> None:
        channel, tag = message.channel, message.delivery_tag or 0
        message_id = message.header.properties.message_id or uuid.uuid4().hex
        if held := self._held.get(message_id):
            await self._arrived_again(held, channel, tag)
        elif message_id in self._done:
            await _ack(channel, tag)
        else:
            await self._open(message, message_id, channel, tag)

    async def _arrived_again(self, held: HeldFrame, channel: AbstractChannel, tag: int) -> None:
        if held.channel is channel:
            # Published twice, because its first connection was lost: one of them is enough.
            await _ack(channel, tag)
            return
        self._ready.add(held.attach(channel, tag))
        await self._ack_if_settled(held)

    async def _open(
        self, message: DeliveredMessage, message_id: str, channel: AbstractChannel, tag: int
    ) -> None:
        try:
            jobs = framing.decode(message.body)
        except FrameError as error:
            # Dead-lettered to the parked queue by the broker, at least once.
            log.error("frame cannot be read", queue=self.queue, error=str(error))
            _UNREADABLE.labels(self.queue).inc()
            await channel.basic_reject(tag, requeue=False, wait=False)
            return
        if message.redelivered:
            if self._closed:
                return
            task = asyncio.create_task(self._split(jobs, channel, tag))
            self._splitting.add(task)
            task.add_done_callback(self._splitting.discard)
            return
        if not jobs[0].suspect:
            self._subscription.seen(len(jobs))
        held = HeldFrame(message_id, channel, tag)
        held.hold([RabbitLease(self, held, job) for job in jobs])
        self._held[message_id] = held
        self._ready.add(held.leases)

    async def _split(self, jobs: list[FramedJob], channel: AbstractChannel, tag: int) -> None:
        """The holder died: put its jobs again one by one, then let the frame go.

        The count is ours and travels with the job, because brokers of different versions count
        differently.
        """
        _SPLIT.labels(self.queue).inc()
        singles = [
            msgspec.structs.replace(job, attempt=job.attempt + 1, suspect=True) for job in jobs
        ]
        while not channel.is_closed:
            try:
                await self._publisher.put(suspects(self.queue), singles, alone=True)
            except QueueError as error:
                log.warning("frame is not split yet", queue=self.queue, error=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await _ack(channel, tag)
                return

    # Leases.

    async def take(self, most: int) -> Sequence[Lease]:
        """Wait for a job, then give what is here."""
        leases = await self._ready.take(most)
        for lease in leases:
            lease.state = State.LEASED
        return leases

    async def settle(self, lease: RabbitLease) -> None:
        """One job of a frame is done."""
        if lease.state is State.LEASED:
            self._ready.settle(lease)
        lease.state = State.SETTLED
        held = lease.frame
        held.unsettled -= 1
        held.settled_at = asyncio.get_running_loop().time()
        await self._ack_if_settled(held)

    async def _ack_if_settled(self, held: HeldFrame) -> None:
        if held.unsettled or held.channel is None:
            return
        self._held.pop(held.id, None)
        self._done[held.id] = None
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        await _ack(held.channel, held.tag)

    async def put_again(self, lease: RabbitLease, delay: float) -> None:
        """Put a job again, then settle it here."""
        job = FramedJob(lease.body, lease.job.put_at, lease.attempt + 1)
        if delay > 0:
            await self._publisher.put(later(self.queue, delay), [job], alone=True)
        else:
            await self._publisher.put(self.queue, [job])
        if lease.state is not State.SETTLED:
            await self.settle(lease)

    # Housekeeping.

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            try:
                await self._free_stragglers()
                self._forget()
                await self._subscription.adapt()
            except BaseException as error:
                if not isinstance(error, Exception) and not lost(error):
                    raise
                log.warning("cannot tend the consumer", queue=self.queue, error=repr(error))

    async def _free_stragglers(self) -> None:
        now = asyncio.get_running_loop().time()
        for held in list(self._held.values()):
            left = [lease for lease in held.leases if lease.state is not State.SETTLED]
            if (
                0 < len(left) < len(held.leases)
                and held.channel is not None
                and held.settled_at < now - STRAGGLER_SECONDS
            ):
                for lease in left:
                    await self._free(held, lease)

    async def _free(self, old: HeldFrame, lease: RabbitLease) -> None:
        """Move a lease to a frame of its own.

        Should that come to us, it finds its lease here, and the job is not handled twice.
        """
        own = HeldFrame(uuid.uuid4().hex, None, 0)
        own.hold([lease])
        self._held[own.id] = own
        deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        try:
            await self._publisher.send(self.queue, [lease.job], own.id, deadline)
        except QueueError:
            del self._held[own.id]
            raise
        if lease.state is State.SETTLED:
            own.unsettled = 0
            await self._ack_if_settled(own)
            return
        lease.frame = own
        old.leases.remove(lease)
        old.unsettled -= 1
        await self._ack_if_settled(old)

    def _forget(self) -> None:
        """Frames that were lost with their connection and went to somebody else."""
        limit = asyncio.get_running_loop().time() - _FORGET_SECONDS
        for held in list(self._held.values()):
            if held.channel is None and held.detached_at < limit:
                for lease in held.those(State.AWAY):
                    lease.state = State.SETTLED
                    held.unsettled -= 1
                if not held.those(State.LEASED):
                    del self._held[held.id]

    async def close(self) -> None:
        """Stop taking; what is not settled is put again as it is, so that nothing is counted."""
        if self._closed:
            return
        self._closed = True
        self._ready.close()
        if self._splitting:
            await asyncio.wait(self._splitting, timeout=PUBLISH_SECONDS)
        tasks = [*self._splitting, *([self._tending] if self._tending else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if await self._subscription.end():
                await self._give_back()
        except BaseException as error:
            # The broker gives them to somebody else when the channel ends, as suspects.
            if not isinstance(error, QueueError) and not lost(error):
                raise
            log.warning("cannot give back", queue=self.queue, error=str(error))
        await self._subscription.close()

    async def _give_back(self) -> None:
        left = [
            lease
            for held in self._held.values()
            for lease in held.leases
            if lease.state is not State.SETTLED and held.channel is not None
        ]
        fresh = [lease.job for lease in left if not lease.suspect]
        await self._publisher.put(self.queue, fresh)
        suspected = [lease.job for lease in left if lease.suspect]
        await self._publisher.put(suspects(self.queue), suspected, alone=True)
        for lease in left:
            if lease.state is not State.SETTLED:
                await self.settle(lease)


async def _ack(channel: AbstractChannel, tag: int) -> None:
    try:
        await channel.basic_ack(tag, wait=False)
    except BaseException as error:
        # The frame comes again, and is recognised.
        if not lost(error):
            raise
