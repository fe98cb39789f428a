"""Durable queues of jobs: `sqlite:///PATH` on one machine, `amqp://...` for RabbitMQ."""

from __future__ import annotations

from libs.common.queue.protocol import Queue


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
    raise ValueError(f"HOLUB_QUEUE_URL: no backend for {url!r}; use sqlite: or amqp:")
