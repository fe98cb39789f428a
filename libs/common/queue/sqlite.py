"""The embedded queue: a table in a SQLite file of its own, and hand-over in memory.

One thread writes; puts, acks and requeues that wait together share one transaction, so one
fsync.  A job is handed to its consumer right after the commit, without a query; a backlog
beyond the window stays in the table and is read as the window drains.

One process at a time may consume from a file; others (the CLI) may put and look.  What was handed
out is noted in a side file without a sync: that survives the death of a process, which is when a
job comes again as a suspect.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from libs.common.queue import sqlite_table
from libs.common.queue.held import Held
from libs.common.queue.local import Exchange
from libs.common.queue.protocol import Depth, Lease, QueueError
from libs.common.queue.sqlite_consumer import SqliteConsumer
from libs.common.queue.sqlite_file import QueueFile
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_POLL_SECONDS = 0.5
_REPLIES = "\0replies"


class SqliteQueue:
    """A `Queue` in one file."""

    def __init__(self, path: str | Path) -> None:
        self._file = QueueFile(Path(path))
        self._exchange = Exchange()
        self._consumers: dict[str, SqliteConsumer] = {}
        self._held: Held | None = None
        self._lock_fd = -1
        self._becoming = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None

    async def put(self, queue: str, jobs: Sequence[bytes]) -> None:
        """Commit the jobs, then hand them to the consumer in this process, if there is one."""
        if not jobs:
            return
        insert = partial(sqlite_table.insert, queue=queue, bodies=jobs, now=time.time())
        rows = await self._file.write(insert)
        if consumer := self._consumers.get(queue):
            consumer.offer(rows)

    async def consume(self, queue: str, prefetch: int) -> SqliteConsumer:
        """Subscribe; `QueueError` when another process or consumer has it already."""
        if queue in self._consumers:
            raise QueueError(f"queue {queue} has a consumer in this process already")
        async with self._becoming:
            held = self._held = self._held or await self._become_consumer()
        consumer = SqliteConsumer(self._file, held, queue, prefetch, self._consumers)
        self._consumers[queue] = consumer
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        return consumer

    async def _become_consumer(self) -> Held:
        """Take the file for this process, and mark what a dead one had in hand as suspects."""
        fd = self._lock()
        try:
            held = Held(Path(f"{self._file.path}.held"))
            if suspects := held.read():
                await self._file.write(partial(sqlite_table.mark_suspects, numbers=suspects))
        except BaseException:
            os.close(fd)
            raise
        # Only now: should we die before the commit, the next process marks them.
        held.forget()
        self._lock_fd = fd
        return held

    def _lock(self) -> int:
        fd = os.open(f"{self._file.path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise QueueError(
                f"{self._file.path} is in use by another Holub process; stop it, or set"
                " HOLUB_QUEUE_URL to another file"
            ) from error
        return fd

    async def _poll(self) -> None:
        """Notice what other processes put; what we write ourselves changes no data_version."""
        seen = -1
        while True:
            try:
                version = await self._file.write(sqlite_table.data_version)
            except QueueError as error:
                log.warning("cannot look for jobs of others", error=str(error))
                version = -1
            if version != seen:
                for consumer in list(self._consumers.values()):
                    consumer.look_again()
            seen = version
            await asyncio.sleep(_POLL_SECONDS)

    async def depth(self, queue: str) -> Depth:
        """Exact: counted in the table, after the acks that were given by now."""
        await self._file.write(lambda _: None)
        jobs, oldest = await self._file.read(partial(sqlite_table.count, queue=queue))
        return Depth(jobs, max(0.0, time.time() - oldest) if jobs else 0.0)

    async def drain_parked(self, park: Callable[[str, Lease, str], Awaitable[None]]) -> int:
        """This backend puts nothing aside by itself."""
        return 0

    async def broadcast(self, topic: str, body: bytes) -> None:
        """To the listeners in this process: the embedded platform is one process."""
        self._exchange.send(topic, [body])

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """From now on."""
        return self._exchange.listen(topic)

    async def reply_address(self) -> str:
        """There is one process, so one address."""
        return "local"

    async def reply(self, address: str, bodies: Sequence[bytes]) -> None:
        """To whoever waits in this process."""
        if address == "local":
            self._exchange.send(_REPLIES, bodies)

    def replies(self) -> AsyncIterator[bytes]:
        """Answers to questions of this process."""
        return self._exchange.listen(_REPLIES)

    async def healthy(self) -> bool:
        """The file can be written, as far as the last write tells."""
        return self._file.healthy

    async def close(self) -> None:
        """Commit what waits and close the file."""
        for consumer in list(self._consumers.values()):
            await consumer.close()
        if self._poller:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError, QueueError):
                await self._poller
        await self._file.close()
        if self._held is not None:
            self._held.close()
            self._held = None
            os.close(self._lock_fd)
