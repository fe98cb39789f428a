"""Frames in hand: which of their jobs wait, are leased, or are settled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from libs.common.queue.frame import FramedJob

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel

    from libs.common.queue.rabbitmq_consumer import RabbitConsumer


class State(Enum):
    """Of a job that is here."""

    WAITING = auto()
    """It may be taken."""
    AWAY = auto()
    """Its connection was lost while it waited: it waits again when its frame comes again."""
    LEASED = auto()
    SETTLED = auto()


class RabbitLease:
    """A job of a frame; see `Lease`."""

    __slots__ = ("_consumer", "attempt", "body", "frame", "job", "state", "suspect")

    def __init__(self, consumer: RabbitConsumer, frame: HeldFrame, job: FramedJob) -> None:
        self._consumer = consumer
        self.frame = frame
        self.job = job
        self.state = State.WAITING
        self.body = job.body
        self.attempt = job.attempt
        self.suspect = job.suspect

    async def ack(self) -> None:
        """Settle it; the last of a frame acks the frame."""
        if self.state is not State.SETTLED:
            await self._consumer.settle(self)

    async def requeue(self, delay: float = 0.0) -> None:
        """Put it again, confirmed, before it is settled here; `QueueError`: it is still ours.

        Delays are rounded up to the next of `topology.DELAYS`, the last being the longest.
        """
        if self.state is not State.SETTLED:
            await self._consumer.put_again(self, delay)


class HeldFrame:
    """A frame that was delivered here.

    It outlives its connection: the broker then delivers the same frame once more, perhaps to
    us, and then it is *attached* again, and what was leased meanwhile stays leased.
    """

    __slots__ = ("channel", "detached_at", "id", "leases", "settled_at", "tag", "unsettled")

    def __init__(self, message_id: str, channel: AbstractChannel | None, tag: int) -> None:
        self.id = message_id
        self.channel = channel
        self.tag = tag
        self.leases: list[RabbitLease] = []
        self.unsettled = 0
        now = asyncio.get_running_loop().time()
        self.settled_at = now
        """When a job of it was settled last (loop time)."""
        self.detached_at = now

    def hold(self, leases: Sequence[RabbitLease]) -> None:
        """These are its jobs."""
        self.leases = list(leases)
        self.unsettled = len(leases)

    def detach(self) -> None:
        """Its connection is lost."""
        if self.channel is None:
            return
        self.channel = None
        for lease in self.those(State.WAITING):
            lease.state = State.AWAY
        self.detached_at = asyncio.get_running_loop().time()

    def attach(self, channel: AbstractChannel, tag: int) -> list[RabbitLease]:
        """It came again; the jobs that wait again."""
        self.channel, self.tag = channel, tag
        back = self.those(State.AWAY)
        for lease in back:
            lease.state = State.WAITING
        return back

    def those(self, state: State) -> list[RabbitLease]:
        """Its jobs in that state."""
        return [lease for lease in self.leases if lease.state is state]
