"""What RabbitMQ must hold: quorum queues that park what cannot be delivered, and never drop it.

For each queue of work NAME there is the queue `NAME`; `NAME.suspects` for single jobs whose
holder died, of which a process never holds more than one, so that their count is theirs; and one
`NAME.later.SECONDS` for each step of delay (made when it is needed first), whose jobs go back to
NAME when they have waited.
What the broker itself gives up (a frame that nobody can read, or that came too often) goes to
`parked`.

Arguments are those that RabbitMQ 3.10 and 4.x both know.  Declaring a queue that exists with
other arguments is an error, so every connection is also the check that they are in force.  What an
operator adds by policy (`max-length-bytes`, say) cannot be seen from here; with reject-publish it
refuses puts and loses nothing.
"""

from __future__ import annotations

from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from libs.common.queue.protocol import QUEUES, QueueError

PARKED = "parked"
"""The queue of last resort, drained into rows by `Queue.drain_parked`."""
BROADCAST = "holub.broadcast"
DELAYS = (1, 5, 30, 60, 120, 300)
"""Steps of delay in seconds; what is due later than the last belongs in the database."""
_LATER = "later."
_DELIVERY_LIMIT = 50
# RabbitMQ 4 drops what came 20 times unless told otherwise; nothing may drop from `parked`.
_NO_LIMIT = 1_000_000_000
_SAFE: dict[str, Any] = {
    "x-queue-type": "quorum",
    # Without reject-publish, at-least-once silently falls back to at-most-once, which loses jobs.
    "x-overflow": "reject-publish",
    "x-dead-letter-strategy": "at-least-once",
    "x-dead-letter-exchange": "",
}


def later(queue: str, delay: float) -> str:
    """The queue for jobs of `queue` that are due in `delay` seconds: the next step up."""
    step = next((step for step in DELAYS if step >= delay), DELAYS[-1])
    return f"{queue}.{_LATER}{step}"


def suspects(queue: str) -> str:
    """The queue for jobs of `queue` whose holder died."""
    return f"{queue}.suspects"


def queues_of(queue: str) -> list[str]:
    """All queues that hold jobs of one queue of work; all but the first hold single jobs."""
    return [queue, suspects(queue), *(later(queue, step) for step in DELAYS)]


def arguments(name: str) -> dict[str, Any]:
    """What the queue of this name is declared with."""
    if name == PARKED:
        return {"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT}
    queue, _, rest = name.partition(".")
    if rest.startswith(_LATER):
        seconds = int(rest.removeprefix(_LATER))
        waiting = {"x-dead-letter-routing-key": queue, "x-message-ttl": seconds * 1000}
        return {**_SAFE, **waiting}
    parking = {"x-dead-letter-routing-key": PARKED, "x-delivery-limit": _DELIVERY_LIMIT}
    return {**_SAFE, **parking}


async def declare(connection: AbstractConnection, also: str | None = None) -> None:
    """Declare everything, or check what is there; `QueueError` when it is not as it must be.

    Queues for delays are declared when they are needed first (`also`).
    """
    names = [PARKED, *QUEUES, *map(suspects, QUEUES)]
    if also is not None and also not in names:
        names.append(also)
    channel = await connection.channel(publisher_confirms=False)
    for name in names:
        await _declare_queue(channel, name, arguments(name))
    await channel.exchange_declare(BROADCAST, exchange_type="topic", durable=True)
    await channel.close()


async def _declare_queue(channel: AbstractChannel, queue: str, arguments: dict[str, Any]) -> None:
    try:
        await channel.queue_declare(queue, durable=True, arguments=arguments)
    except ChannelPreconditionFailed as error:
        raise QueueError(
            f"queue {queue!r} exists with other arguments, under which jobs can be lost: {error};"
            " drain it, delete it, and start again"
        ) from error


async def ready(connection: AbstractConnection, queue: str) -> int:
    """How many messages wait in a queue; 0 when it does not exist."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        answer = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return 0
    await channel.close()
    return int(answer.message_count or 0)
