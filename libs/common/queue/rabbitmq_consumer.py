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
from libs.common.queue.protocol import JOB_QUEUES_ONE_BY_ONE, Lease, QueueError
from libs.common.queue.rabbitmq_held import HeldFrame, RabbitLease, State
from libs.common.queue.rabbitmq_link import Link, TopologyError, lost
from libs.common.queue.rabbitmq_publisher import PUBLISH_SECONDS, Publisher
from libs.common.queue.ready import Ready
from libs.common.queue.topology import declare, later, suspects
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_UNREADABLE = Counter("holub_queue_unreadable_frames_total", "Frames put aside.", ["queue"])
_SPLIT = Counter("holub_queue_split_frames_total", "Frames of a dead holder.", ["queue"])

STRAGGLER_SECONDS = 60.0
_TEND_SECONDS = 1.0
_PAUSES = (0.1, 0.5, 1.0, 2.0)
_FORGET_SECONDS = 600.0
_REMEMBERED = 4096
_LEAST_FRAMES = 4
_FIRST_GUESS = framing.MAX_JOBS / 2
_AVERAGED = 16


class RabbitConsumer:
    """A subscription that outlives connections; see `Consumer`."""

    def __init__(self, link: Link, publisher: Publisher, queue: str, prefetch: int) -> None:
        self.queue = queue
        self._link = link
        self._publisher = publisher
        self._prefetch = prefetch
        self._ready: Ready[RabbitLease] = Ready(prefetch)
        self._held: dict[str, HeldFrame] = {}
        # Acks may be lost with their connection: these frames are done, should they come again.
        self._done: OrderedDict[str, None] = OrderedDict()
        self._jobs_per_frame: float | None = None
        self._channel: AbstractChannel | None = None
        self._tags: dict[str, str] = {}
        self._frames_ahead = 0
        self._declare = False
        self._gone = asyncio.Event()
        self._splitting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Subscribe; `QueueError` only for what will not heal by itself."""
        try:
            await self._subscribe()
        except TopologyError:
            raise
        except BaseException as error:
            if not isinstance(error, QueueError) and not lost(error):
                raise
            log.warning("cannot consume yet", queue=self.queue, error=str(error))
            self._gone.set()
        self._tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._tend())]

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
        return self._jobs_per_frame or 1.0

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

    # Staying subscribed.

    async def _stay(self) -> None:
        failures = 0
        while True:
            await self._gone.wait()
            self._gone.clear()
            await self._detach()
            try:
                await self._subscribe()
                failures = 0
                log.info("consuming again", queue=self.queue)
            except BaseException as error:
                if not isinstance(error, Exception) and not lost(error):
                    raise
                log.warning("cannot consume", queue=self.queue, error=repr(error))
                self._gone.set()
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1

    async def _subscribe(self) -> None:
        connection = await self._link.connection()
        async with asyncio.timeout(PUBLISH_SECONDS):
            channel = await connection.channel(publisher_confirms=False)
            self._channel = channel
            # The queue may have been deleted since the connection was made.
            if self._declare:
                await declare(connection)
            channel.on_consumer_cancel_callbacks.add(lambda _: self._lose(channel))
            channel.closing.add_done_callback(lambda _: self._lose(channel))
            await self._consume_suspects(channel)
            await self._consume(channel)
        self._declare = False

    async def _consume(self, channel: AbstractChannel) -> None:
        self._frames_ahead = self._wanted_frames()
        await channel.basic_qos(prefetch_count=self._frames_ahead)
        answer = await channel.basic_consume(self.queue, self._arrived)
        self._tags[self.queue] = str(answer.consumer_tag)

    async def _consume_suspects(self, channel: AbstractChannel) -> None:
        """One at a time: what is only waiting here when we die would be counted too."""
        await channel.basic_qos(prefetch_count=1)
        answer = await channel.basic_consume(suspects(self.queue), self._arrived)
        self._tags[suspects(self.queue)] = str(answer.consumer_tag)

    def _lose(self, channel: AbstractChannel) -> None:
        """The broker ended the subscription: a deleted queue, a fail-over, a lost connection."""
        if self._channel is channel and not self._closed:
            self._declare = True
            self._gone.set()

    async def _detach(self) -> None:
        """What waits here is given to somebody else now, or to us again."""
        channel, self._channel = self._channel, None
        self._ready.clear()
        for held in self._held.values():
            held.detach()
        if channel is not None and not channel.is_closed:
            await _close(channel)

    def _wanted_frames(self) -> int:
        """Prefetch counts jobs, the broker counts frames."""
        if self.queue in JOB_QUEUES_ONE_BY_ONE:
            return self._prefetch
        average = self._jobs_per_frame or _FIRST_GUESS
        return max(_LEAST_FRAMES, min(self._prefetch, round(self._prefetch / average)))

    async def _adapt(self) -> None:
        """Subscribe with another prefetch when frames have become much fuller or emptier."""
        channel, wanted = self._channel, self._wanted_frames()
        if channel is None or self._closed or 0.5 < wanted / max(1, self._frames_ahead) < 2:
            return
        await channel.basic_cancel(self._tags[self.queue], timeout=PUBLISH_SECONDS)
        await self._consume(channel)

    # Frames that arrive.

    async def _arrived(self, message: DeliveredMessage) -> None:
        channel, tag = message.channel, message.delivery_tag or 0
        if channel is not self._channel:
            return
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
            average = self._jobs_per_frame or len(jobs)
            self._jobs_per_frame = average + (len(jobs) - average) / _AVERAGED
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
                await asyncio.sleep(_PAUSES[-1])
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
                await self._adapt()
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
        for task in (*self._tasks, *self._splitting):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._splitting, return_exceptions=True)
        channel = self._channel
        if channel is None or channel.is_closed:
            return
        try:
            # What arrives before the answer is held, and given back with the rest.
            for tag in self._tags.values():
                await channel.basic_cancel(tag, timeout=PUBLISH_SECONDS)
            await self._give_back()
        except BaseException as error:
            # The broker gives them to somebody else when the channel ends, as suspects.
            if not isinstance(error, QueueError) and not lost(error):
                raise
            log.warning("cannot give back", queue=self.queue, error=str(error))
        self._channel = None
        await _close(channel)

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


async def _close(channel: AbstractChannel) -> None:
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            await channel.close()
    except BaseException as error:
        if not lost(error):
            raise
