"""A subscription to one queue of the file, with a bounded window of its jobs in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import partial

from libs.common.queue import sqlite_table
from libs.common.queue.held import Held
from libs.common.queue.protocol import Lease, QueueError
from libs.common.queue.ready import Ready
from libs.common.queue.sqlite_file import QueueFile
from libs.common.queue.sqlite_table import Page, Row
from libs.common.runtime.log import get_logger

log = get_logger(__name__)

WINDOW = 4096
"""Jobs of a queue that wait in memory at most; the rest waits in the table."""
_LOW = WINDOW // 4
_PAUSE_SECONDS = 1.0


class SqliteLease:
    """A job handed out; see `Lease`."""

    __slots__ = ("_consumer", "_settled", "attempt", "body", "id", "suspect")

    def __init__(self, consumer: SqliteConsumer, row: Row) -> None:
        self._consumer = consumer
        self._settled = False
        self.id = row.id
        self.body = row.body
        self.attempt = row.attempt
        self.suspect = row.suspect

    async def ack(self) -> None:
        """Remove the job; the removal is committed with the next group."""
        if not self._settled:
            self._settled = True
            self._consumer.done(self)

    async def requeue(self, delay: float = 0.0) -> None:
        """Put it back, durably; on `QueueError` the lease is still ours."""
        if not self._settled:
            await self._consumer.postpone(self, delay)
            self._settled = True


class SqliteConsumer:
    """See `Consumer`.  `registry` is where the queue finds its consumers by name."""

    def __init__(
        self,
        file: QueueFile,
        held: Held,
        name: str,
        prefetch: int,
        registry: dict[str, SqliteConsumer],
    ) -> None:
        self._file = file
        self._held = held
        self._name = name
        self._registry = registry
        self._ready: Ready[SqliteLease] = Ready(prefetch)
        self._known: set[int] = set()
        self._leased: set[int] = set()
        self._cursor = 0
        self._behind = True
        self._missed = False
        self._settled_meanwhile: set[int] | None = None
        self._soonest: float | None = None
        self._hungry = asyncio.Event()
        self._hungry.set()
        self._closed = False
        self._filler = asyncio.create_task(self._fill())

    def offer(self, rows: Sequence[Row]) -> None:
        """Jobs that were just committed: straight into the window, unless others come first."""
        if self._behind or len(self._ready) + len(rows) > WINDOW:
            self._behind = self._missed = True
            if len(self._ready) < _LOW:
                self._hungry.set()
            return
        self._cursor = max(self._cursor, rows[-1].id)
        self._take_in(rows)

    def look_again(self) -> None:
        """The table may hold jobs that nobody told us of, before the cursor too."""
        self._cursor = 0
        self._behind = self._missed = True
        self._hungry.set()

    def _take_in(self, rows: Iterable[Row]) -> None:
        fresh = [row for row in rows if row.id not in self._known]
        self._known.update(row.id for row in fresh)
        self._ready.add(SqliteLease(self, row) for row in fresh)

    async def take(self, most: int) -> Sequence[Lease]:
        """Wait for a job, then give what is here."""
        leases = await self._ready.take(most)
        ids = [lease.id for lease in leases]
        self._leased.update(ids)
        self._held.take(ids)
        if self._behind and len(self._ready) < _LOW:
            self._hungry.set()
        return leases

    async def _fill(self) -> None:
        """Keep the window filled from the table, and fetch postponed jobs when they are due."""
        while True:
            await self._hunger()
            try:
                while self._behind or self._due():
                    if len(self._ready) >= _LOW:
                        break
                    await self._look()
            except QueueError as error:
                if self._closed:
                    return
                log.warning("cannot read the queue", queue=self._name, error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                self._hungry.set()

    async def _hunger(self) -> None:
        wait = None if self._soonest is None else max(0.0, self._soonest - time.time())
        if wait is not None and len(self._ready) >= _LOW:
            wait = None  # `take` makes us hungry when there is room again
            self._behind = True
        try:
            async with asyncio.timeout(wait):
                await self._hungry.wait()
        except TimeoutError:
            pass
        self._hungry.clear()

    def _due(self) -> bool:
        return self._soonest is not None and self._soonest <= time.time()

    async def _look(self) -> None:
        # Puts that commit while we look are not taken in directly, so order is kept; and a
        # job that is settled while we look may be seen once more, and must not be given again.
        self._behind, self._missed = True, False
        self._settled_meanwhile = set()
        cursor = self._cursor
        page: Page = await self._file.write(
            partial(
                sqlite_table.look,
                queue=self._name,
                cursor=cursor,
                now=time.time(),
                most=WINDOW + (len(self._known) if cursor == 0 else 0),
            )
        )
        settled, self._settled_meanwhile = self._settled_meanwhile, None
        self._soonest = page.soonest
        if self._cursor == cursor:  # else somebody asked to look again from the start
            self._cursor = max(cursor, page.cursor)
            self._behind = page.behind or self._missed
        self._take_in(row for row in page.rows if row.id not in settled)

    def done(self, lease: SqliteLease) -> None:
        """Remove a job."""
        self._unknow(lease.id)
        self._release(lease)
        try:
            self._file.write_soon(partial(sqlite_table.remove, number=lease.id))
        except QueueError:
            # The file is closed already: the job comes again, as after any lost ack.
            log.warning("job done after the queue was closed", queue=self._name)

    async def postpone(self, lease: SqliteLease, delay: float) -> None:
        """Let a job come again, now or later."""
        attempt = lease.attempt + 1
        not_before = time.time() + delay if delay > 0 else 0.0
        # The file does work in the order in which it was asked: a look before this write
        # is told by `_unknow`, one after it sees what we write.
        self._unknow(lease.id)
        try:
            await self._file.write(
                partial(
                    sqlite_table.postpone, number=lease.id, attempt=attempt, not_before=not_before
                )
            )
        except QueueError:
            self._known.add(lease.id)
            raise
        self._release(lease)
        if consumer := self._registry.get(self._name):
            consumer.again(Row(lease.id, lease.body, attempt, False), not_before)

    def again(self, row: Row, not_before: float) -> None:
        """A job that was given back: in memory if it is due now, else when it is due."""
        if not not_before:
            self._take_in([row])
        elif self._soonest is None or not_before < self._soonest:
            self._soonest = not_before
            self._hungry.set()

    def _unknow(self, number: int) -> None:
        self._known.discard(number)
        if self._settled_meanwhile is not None:
            self._settled_meanwhile.add(number)

    def _release(self, lease: SqliteLease) -> None:
        if lease.id in self._leased:
            self._leased.discard(lease.id)
            self._held.release([lease.id])
            self._ready.settle(lease)

    async def close(self) -> None:
        """Stop; what is not settled is in the table, for the next consumer."""
        if self._closed:
            return
        self._closed = True
        self._registry.pop(self._name, None)
        self._filler.cancel()
        await asyncio.gather(self._filler, return_exceptions=True)
        self._ready.close()
        self._held.release(self._leased)
        self._leased.clear()
