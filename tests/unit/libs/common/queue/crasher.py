"""A process that uses a queue and is killed at a chosen moment: `crasher.py URL WHAT [LOG]`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from libs.common.queue import Lease, Queue, open_queue
from libs.common.queue.worker import Worker


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def put(queue: Queue, _: Path) -> None:
    await queue.put("filter", [b"job"])
    die()


async def put_many(queue: Queue, _: Path) -> None:
    await queue.put("filter", [b"%d" % n for n in range(100)])


async def hold(queue: Queue, _: Path) -> None:
    """Take what is there and die with it."""
    consumer = await queue.consume("filter", 100)
    leases = list(await consumer.take(100))
    while len(leases) < 3:
        leases += await consumer.take(100)
    die()


async def delay(queue: Queue, _: Path) -> None:
    consumer = await queue.consume("filter", 10)
    (lease,) = await consumer.take(1)
    await lease.requeue(2)
    # An ack that is lost with its process may bring the job again: let it out.
    await asyncio.sleep(0.2)
    die()


async def work(queue: Queue, log: Path) -> None:
    """Work until the queue is empty or the poison kills us; tell what was done in the log."""
    stopping = asyncio.Event()

    def tell(word: str, lease: Lease) -> None:
        with log.open("a") as file:
            file.write(f"{word} {lease.body.decode()} {lease.attempt}\n")

    async def handle(leases: Sequence[Lease]) -> None:
        if any(lease.body == b"poison" for lease in leases):
            die()
        await asyncio.sleep(0.02)
        for lease in leases:
            tell("done", lease)

    async def park(lease: Lease, reason: str) -> None:
        tell("parked", lease)

    worker = Worker(queue, "filter", handle, park, most=4, concurrency=4, max_attempts=4)
    run = asyncio.create_task(worker.run(stopping))
    while "parked" not in (log.read_text() if log.exists() else ""):
        await asyncio.sleep(0.1)
    while (await queue.depth("filter")).jobs:
        await asyncio.sleep(0.1)
    stopping.set()
    await run


async def main() -> None:
    url, what, log = (*sys.argv[1:], os.devnull)[:3]
    queue = open_queue(url)
    await globals()[what](queue, Path(log))
    await queue.close()


if __name__ == "__main__":
    asyncio.run(main())
