"""Draining the broker's queue of last resort."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiormq.abc import AbstractChannel, DeliveredMessage

from libs.common.queue import frame
from libs.common.queue.frame import FrameError
from libs.common.queue.protocol import Lease, QueueError
from libs.common.queue.rabbitmq_link import Link, lost
from libs.common.queue.topology import PARKED

_REASONS = {
    "rejected": "frame that cannot be read",
    "delivery_limit": "came too often without ever being settled",
}


@dataclass(slots=True)
class ParkedLease:
    """A job of the parked queue; it is settled by its frame, when all of it is parked."""

    body: bytes
    attempt: int
    suspect: bool = True

    async def ack(self) -> None:
        """Nothing: the frame is acked."""

    async def requeue(self, delay: float = 0.0) -> None:
        """Nothing: who raises leaves the frame where it is."""


async def drain(link: Link, park: Callable[[str, Lease, str], Awaitable[None]]) -> int:
    """Park what is there now; the number of jobs."""
    count = 0
    channel: AbstractChannel | None = None
    try:
        connection = await link.connection()
        channel = await connection.channel(publisher_confirms=False)
        while True:
            message = await channel.basic_get(PARKED)
            if message.delivery_tag is None:
                return count
            count += await _park(message, park)
            await channel.basic_ack(message.delivery_tag)
    except BaseException as error:
        if isinstance(error, QueueError) or not lost(error):
            raise
        raise QueueError(f"cannot drain {PARKED}: {error!r}") from error
    finally:
        if channel is not None and not channel.is_closed:
            await channel.close()


async def _park(
    message: DeliveredMessage, park: Callable[[str, Lease, str], Awaitable[None]]
) -> int:
    headers = message.header.properties.headers or {}
    queue = str(headers.get("x-first-death-queue", PARKED))
    why = str(headers.get("x-first-death-reason", "unknown"))
    reason = f"parked by the broker: {_REASONS.get(why, why)}"
    try:
        leases = [ParkedLease(job.body, job.attempt) for job in frame.decode(message.body)]
    except FrameError as error:
        leases = [ParkedLease(message.body, 0)]
        reason = f"parked by the broker: {error}"
    for lease in leases:
        await park(queue, lease, reason)
    return len(leases)
