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
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from libs.common.queue.local import Exchange
from libs.common.queue.protocol import Depth, Lease, QueueError
from libs.common.queue.sqlite_file import QueueFile, Row

WINDOW = 4096
"""Jobs of a queue that are kept in memory at most."""
_POLL_SECONDS = 1.0
_REPLIES = "\0replies"


class SqliteLease:
    """A job handed out; see `Lease`."""

    __slots__ = ("_consumer", "_row", "_settled", "attempt", "body", "suspect")

    def __init__(self, consumer: SqliteConsumer, row: Row) -> None:
        self._consumer = consumer
        self._row = row
        self._settled = False
        self.body = row.body
        self.attempt = row.attempt
        self.suspect = row.suspect

    async def ack(self) -> None:
        """Remove the job; the removal is committed with the next group."""
        if not self._settled:
            self._settled = True
            self._consumer.settle(self._row)
            await self._consumer.file.remove(self._row.id)

    async def requeue(self, delay: float = 0.0) -> None:
        """Put it back, durably."""
        if not self._settled:
            self._settled = True
            again = self._row.again(self._row.attempt + 1, suspect=False)
            await self._consumer.file.postpone(again, time.time() + delay if delay else 0.0)
            self._consumer.settle(self._row)
            self._consumer.later(again, delay)


class SqliteConsumer:
    """A subscription to one queue of the file; see `Consumer`."""

    def __init__(self, file: QueueFile, name: str, prefetch: int) -> None:
        self.file = file
        self.name = name
        self._prefetch = prefetch
        self._ready: deque[Row] = deque()
        self._known: set[int] = set()
        self._leased = 0
        self._wake = asyncio.Event()
        self._more_in_table = True
        self._closed = False
        self._timers: set[asyncio.TimerHandle] = set()

    def offer(self, rows: Sequence[Row]) -> None:
        """Jobs that were just committed."""
        if self._more_in_table or len(self._ready) + len(rows) > WINDOW:
            self._more_in_table = True
        else:
            self._take_in(rows)
        self._wake.set()

    def look_again(self) -> None:
        """The table may hold jobs that nobody told us of."""
        self._more_in_table = True
        self._wake.set()

    def _take_in(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.id not in self._known:
                self._known.add(row.id)
                self._ready.append(row)

    async def take(self, most: int) -> Sequence[Lease]:
        """Wait for a job, then give what is here."""
        while not self._closed:
            if self._leased < self._prefetch:
                if not self._ready and self._more_in_table:
                    await self._load()
                if self._ready:
                    return self._give(min(most, self._prefetch - self._leased))
            self._wake.clear()
            if not (self._ready and self._leased < self._prefetch):
                await self._wake.wait()
        raise QueueError(f"consumer of {self.name} is closed")

    async def _load(self) -> None:
        self._more_in_table = False
        rows = await self.file.load(self.name, time.time(), len(self._known) + WINDOW)
        if len(rows) >= len(self._known) + WINDOW:
            self._more_in_table = True
        self._take_in(rows)

    def _give(self, most: int) -> list[Lease]:
        rows: list[Row] = []
        while self._ready and len(rows) < most:
            # A suspect goes alone: it may kill its holder once more.
            if self._ready[0].suspect and rows:
                break
            rows.append(self._ready.popleft())
            if rows[-1].suspect:
                break
        self.file.held.note([row.id for row in rows])
        self._leased += len(rows)
        return [SqliteLease(self, row) for row in rows]

    def settle(self, row: Row) -> None:
        """A lease is no more."""
        self._known.discard(row.id)
        self._leased -= 1
        self._wake.set()

    def later(self, row: Row, delay: float) -> None:
        """Offer a job again after some time."""
        self._known.add(row.id)
        if not delay:
            self._return(row)
            return
        handle = asyncio.get_running_loop().call_later(delay, self._return, row)
        self._timers.add(handle)

    def _return(self, row: Row) -> None:
        self._ready.append(row)
        self._wake.set()

    async def close(self) -> None:
        """Stop; what is here and not given out is in the table anyway."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._ready.clear()
        self._known.clear()
        self.file.consumers.pop(self.name, None)
        self._wake.set()


class SqliteQueue:
    """A `Queue` in one file."""

    def __init__(self, path: str | Path) -> None:
        self._file = QueueFile(Path(path))
        self._exchange = Exchange()
        self._poller: asyncio.Task[None] | None = None

    async def put(self, queue: str, jobs: Sequence[bytes]) -> None:
        """Commit the jobs, then hand them to the consumer in this process, if there is one."""
        rows = await self._file.put(queue, jobs)
        consumer = self._file.consumers.get(queue)
        if consumer:
            consumer.offer(rows)

    async def consume(self, queue: str, prefetch: int) -> SqliteConsumer:
        """Subscribe; `QueueError` when another process or consumer has it already."""
        await self._file.become_consumer()
        if queue in self._file.consumers:
            raise QueueError(f"queue {queue} has a consumer in this process already")
        consumer = SqliteConsumer(self._file, queue, prefetch)
        self._file.consumers[queue] = consumer
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        return consumer

    async def _poll(self) -> None:
        """Notice what other processes put, and what is due by now."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if await self._file.changed_by_others():
                for consumer in list(self._file.consumers.values()):
                    consumer.look_again()

    async def depth(self, queue: str) -> Depth:
        """Exact: counted in the table."""
        jobs, oldest = await self._file.count(queue)
        return Depth(jobs, max(0.0, time.time() - oldest) if jobs else 0.0)

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
        self._exchange.send(_REPLIES, bodies)

    def replies(self) -> AsyncIterator[bytes]:
        """Answers to questions of this process."""
        return self._exchange.listen(_REPLIES)

    async def healthy(self) -> bool:
        """The file can be written, as far as the last write tells."""
        return self._file.healthy

    async def close(self) -> None:
        """Commit what waits and close the file."""
        if self._poller:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller
        await self._file.close()
