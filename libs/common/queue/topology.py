"""What RabbitMQ must hold: quorum queues that park what cannot be delivered, and never drop it.

Arguments are those that RabbitMQ 3.10 and 4.x both know.  Declaring a queue that exists with
other arguments is an error, so every start is also the check that they are in force.
"""

from __future__ import annotations

from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from libs.common.queue.protocol import QUEUES, QueueError

PARKED = "parked"
"""The queue of last resort: what the broker itself gave up; it is drained into rows."""
BROADCAST = "holub.broadcast"
_DELIVERY_LIMIT = 50


def arguments(queue: str) -> dict[str, Any]:
    """The arguments of a queue of work."""
    common: dict[str, Any] = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
    if queue == PARKED:
        return common
    return {
        **common,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": PARKED,
        # Without reject-publish this silently falls back to at-most-once, which loses jobs.
        "x-dead-letter-strategy": "at-least-once",
        "x-delivery-limit": _DELIVERY_LIMIT,
    }


async def declare(channel: AbstractChannel, queue: str) -> None:
    """Declare a queue, or check the one that is there."""
    try:
        await channel.declare_queue(queue, durable=True, arguments=arguments(queue))
    except ChannelPreconditionFailed as error:
        raise QueueError(
            f"queue {queue!r} exists with other arguments, under which jobs can be lost: {error};"
            " drain it, delete it, and start again"
        ) from error


async def declare_all(channel: AbstractChannel) -> None:
    """Everything there is."""
    for queue in (PARKED, *QUEUES):
        await declare(channel, queue)
    await channel.declare_exchange(BROADCAST, aio_pika.ExchangeType.TOPIC, durable=True)
