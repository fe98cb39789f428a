"""Putting jobs on RabbitMQ: frames, confirms, and a bound on every wait.

Puts that wait together share a frame.  A frame that is not full goes out a moment after the one
before it at the earliest, and while a few are unconfirmed only full ones follow (up to 50): load
makes frames fuller, for a frame costs the broker and both sides as much as a dozen jobs in it.
What comes alone goes out at once.  A publish that is not confirmed in time ends its connection,
because it usually lands anyway once the broker wakes up, and the caller is told that it did not.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Sequence

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from libs.common.queue import frame
from libs.common.queue.frame import FramedJob
from libs.common.queue.protocol import JOB_QUEUES_ONE_BY_ONE, QueueError
from libs.common.queue.rabbitmq_link import Link, TopologyError, lost
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.patience import Patience

log = get_logger(__name__)
PUBLISH_SECONDS = 5.0
_AT_ONCE = 2
_IN_FLIGHT = 50
GATHER_SECONDS = 0.008
"""Between two frames for one queue that are not full."""
_SLOW_SECONDS = 2.0
_AGAIN_SECONDS = 0.05
_PERSISTENT = 2


class _Put:
    """A caller's jobs, some of which may be confirmed by now."""

    __slots__ = ("deadline", "future", "left")

    def __init__(self, count: int, deadline: float) -> None:
        self.left = count
        self.deadline = deadline
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def confirm(self) -> None:
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: QueueError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Lane:
    """What waits for one queue."""

    __slots__ = ("alone", "flying", "queue", "scheduled", "sent_at", "waiting")

    def __init__(self, queue: str, alone: bool) -> None:
        self.queue = queue
        self.alone = alone
        self.waiting: deque[tuple[FramedJob, _Put]] = deque()
        self.flying = 0
        self.scheduled = False
        self.sent_at = -math.inf

    @property
    def full(self) -> bool:
        """Does what waits fill a frame?"""
        return self.alone or len(self.waiting) >= frame.MAX_JOBS

    def may_send(self) -> bool:
        return self.flying < (_IN_FLIGHT if self.full else _AT_ONCE)

    def gathers(self, now: float) -> float:
        """How long the next frame may still fill, in seconds; 0: it goes out now."""
        if self.full or not self.waiting:
            return 0.0
        return max(0.0, self.sent_at + GATHER_SECONDS - now)

    def next_frame(self) -> list[tuple[FramedJob, _Put]]:
        """What goes out next; callers that gave up are skipped, so their jobs never land."""
        taken: list[tuple[FramedJob, _Put]] = []
        octets = 0
        while self.waiting and len(taken) < (1 if self.alone else frame.MAX_JOBS):
            job, put = self.waiting[0]
            if put.future.done():
                self.waiting.popleft()
                continue
            octets += len(job.body)
            if taken and octets > frame.MAX_OCTETS:
                break
            taken.append(self.waiting.popleft())
        return taken


class Publisher:
    """The publishing side of one process."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.frames = 0
        """How many frames were confirmed."""
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._flying: dict[int, float] = {}
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._slow_until = 0.0
        self._patience = Patience(PUBLISH_SECONDS)

    async def put(
        self,
        queue: str,
        jobs: Sequence[FramedJob],
        *,
        alone: bool = False,
    ) -> None:
        """Confirmed on return; `QueueError` when that is not known within the bound.

        `alone`: each job in a frame of its own.
        """
        if not jobs:
            return
        alone = alone or queue.split(".", 1)[0] in JOB_QUEUES_ONE_BY_ONE
        loop = asyncio.get_running_loop()
        put = _Put(len(jobs), loop.time() + PUBLISH_SECONDS)
        lane = self._lanes.get((queue, alone))
        if lane is None:
            lane = self._lanes[queue, alone] = _Lane(queue, alone)
        lane.waiting.extend((job, put) for job in jobs)
        self._schedule(lane)
        try:
            await self._patience.within(put.future)
        except TimeoutError:
            raise QueueError(f"{queue}: not confirmed within {PUBLISH_SECONDS:g} s") from None

    def _schedule(self, lane: _Lane) -> None:
        if not lane.scheduled:
            # One turn of the loop, so that puts of the same moment share a frame.
            lane.scheduled = True
            asyncio.get_running_loop().call_soon(self._pump, lane)

    def _pump(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        if wait := lane.gathers(loop.time()):
            loop.call_later(wait, self._pump, lane)
            return
        lane.scheduled = False
        while lane.waiting and lane.may_send():
            if taken := lane.next_frame():
                lane.sent_at = loop.time()
                lane.flying += 1
                task = asyncio.create_task(self._send(lane, taken))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send(self, lane: _Lane, taken: list[tuple[FramedJob, _Put]]) -> None:
        jobs = [job for job, _ in taken]
        # The latest: who waited longer gives up by himself, and takes no neighbour along.
        deadline = max(put.deadline for _, put in taken)
        self._flying[id(taken)] = asyncio.get_running_loop().time()
        try:
            await self.send(lane.queue, jobs, uuid.uuid4().hex, deadline)
        except Exception as error:  # whatever it is, those who wait must hear of it
            fault = error if isinstance(error, QueueError) else QueueError(f"{lane.queue}: {error}")
            for _, put in taken:
                put.fail(fault)
        else:
            for _, put in taken:
                put.confirm()
        finally:
            del self._flying[id(taken)]
            lane.flying -= 1
            self._schedule(lane)

    async def send(
        self, queue: str, jobs: Sequence[FramedJob], message_id: str, deadline: float
    ) -> None:
        """One frame, confirmed; sent again when the connection is lost meanwhile.

        The first may have landed, so it can come twice; by the same id, which must be fresh:
        the client tells by it which of the publishes in flight was returned.
        """
        body = frame.encode(jobs)
        loop = asyncio.get_running_loop()
        connection = None
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    connection = await self.link.connection()
                    if await self._publish(connection, queue, body, message_id):
                        break
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError:
            self._slow_until = loop.time() + PUBLISH_SECONDS
            if connection is not None:
                self.link.drop(connection)
            raise QueueError(f"{queue}: not confirmed in time") from None
        self.frames += 1
        self._slow_until = 0.0

    async def _publish(
        self, connection: AbstractConnection, queue: str, body: bytes, message_id: str
    ) -> bool:
        """True when confirmed; False to try again on what is then the connection."""
        await failpoint("queue.before_publish")
        try:
            channel = await self._open(connection)
            properties = Basic.Properties(
                delivery_mode=_PERSISTENT,
                message_id=message_id,
            )
            answer = await channel.basic_publish(
                body, routing_key=queue, properties=properties, mandatory=True
            )
        except PublishError as error:
            log.info("declaring a queue", queue=queue, error=str(error))
            await self._redeclare(connection, queue)
            return False
        except DeliveryError as error:
            raise QueueError(f"{queue}: the broker refused a job: {error}") from error
        except BaseException as error:
            if isinstance(error, TimeoutError) or not lost(error):
                raise
            return False
        if not isinstance(answer, Basic.Ack):
            raise QueueError(f"{queue}: not confirmed but {answer!r}")
        await failpoint("queue.after_publish")
        return True

    async def _redeclare(self, connection: AbstractConnection, queue: str) -> None:
        try:
            await self.link.redeclare(connection, queue)
        except TopologyError:
            raise
        except BaseException as error:
            if isinstance(error, QueueError) or not lost(error):
                raise

    async def _open(self, connection: AbstractConnection) -> AbstractChannel:
        async with self._opening:
            channel = self._channel
            if channel is None or channel.is_closed or channel.connection is not connection:
                channel = self._channel = await connection.channel(
                    publisher_confirms=True, on_return_raises=True
                )
            return channel

    @property
    def slow(self) -> bool:
        """Confirms are late: the broker is blocked, paused, or has lost its majority."""
        now = asyncio.get_running_loop().time()
        oldest = min(self._flying.values(), default=now)
        return now < self._slow_until or now - oldest > _SLOW_SECONDS

    async def close(self) -> None:
        """Wait for what is on its way, up to the bound."""
        deadline = time.monotonic() + PUBLISH_SECONDS
        while (self._sending or self._gathering()) and time.monotonic() < deadline:
            if self._sending:
                await asyncio.wait(self._sending, timeout=PUBLISH_SECONDS)
            else:
                await asyncio.sleep(GATHER_SECONDS)

    def _gathering(self) -> bool:
        return any(lane.scheduled and lane.waiting for lane in self._lanes.values())
