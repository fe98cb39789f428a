"""Durable queues of jobs: `sqlite:///PATH` on one machine, `amqp://...` for RabbitMQ.

`open_queue` picks the backend by the scheme of HOLUB_QUEUE_URL; the embedded default never
loads the RabbitMQ client.  Roles take their jobs through `libs.common.queue.worker.Worker`.
"""

from __future__ import annotations

from libs.common.queue.protocol import (
    JOB_QUEUES_ONE_BY_ONE,
    QUEUES,
    Consumer,
    Depth,
    Lease,
    Queue,
    QueueError,
)

__all__ = [
    "JOB_QUEUES_ONE_BY_ONE",
    "QUEUES",
    "Consumer",
    "Depth",
    "Lease",
    "Queue",
    "QueueError",
    "open_queue",
]


def open_queue(url: str) -> Queue:
    """The queue that a URL names; `ValueError` when there is no such backend."""
    if url.startswith("sqlite:"):
        from libs.common.queue.sqlite import SqliteQueue

        path = url.removeprefix("sqlite:").removeprefix("//")
        # As in SQLAlchemy: three slashes are relative, four are absolute.
        return SqliteQueue(path[1:] if path.startswith("/") else path)
    if url.startswith(("amqp:", "amqps:")):
        from libs.common.queue.rabbitmq import RabbitQueue

        return RabbitQueue(url)
    scheme = url.split(":", 1)[0]
    raise ValueError(f"HOLUB_QUEUE_URL: no backend for {scheme!r}; use sqlite: or amqp:")
