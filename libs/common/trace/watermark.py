"""The watermark of a queue: the newest `received_at` that its consumers have taken.

What was accepted well before it and has no row is lost from the queue, not waiting in it:
so the sweeper never publishes a backlog into itself (rule 2 of the architecture).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import case, select
from sqlalchemy.dialects import postgresql, sqlite

from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.schema import watermark
from libs.common.queue.protocol import Queue
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive

log = get_logger(__name__)
QUEUES = ("filter", "delivery", "storage")
"""The queues that all mail goes through: while jobs wait there, nothing newer is lost for sure."""
RELAY = ("relay",)
"""Only what is planned to leave waits here, so only that is held back by its watermark."""


async def taken_before(
    database: Database, queue: Queue, now: float, margin: float, queues: Sequence[str] = QUEUES
) -> float:
    """The time before which every job was taken by the consumers of these queues (rule 2).

    An empty queue holds nothing back; a queue with jobs holds what is newer than the newest job
    that was taken from it, minus a margin in seconds.
    """
    async with database.reading() as transaction:
        rows = await transaction.rows(select(watermark.c.queue, watermark.c.received_at))
    marks = {row.queue: row.received_at for row in rows}
    line = now
    for name in queues:
        if (await queue.depth(name)).jobs:
            line = min(line, marks.get(name, 0.0) - margin)
    return line


async def note_watermark(transaction: Transaction, queue: str, received_at: float) -> None:
    """Raise the stored watermark to `received_at`; it never goes back."""
    insert = (postgresql if transaction.dialect == "postgresql" else sqlite).insert(watermark)
    newer = insert.excluded.received_at > watermark.c.received_at
    await transaction.execute(
        insert.values(queue=queue, received_at=received_at).on_conflict_do_update(
            index_elements=["queue"],
            set_={
                "received_at": case(
                    (newer, insert.excluded.received_at), else_=watermark.c.received_at
                )
            },
        )
    )


class Watermark:
    """Collects what one process takes, and stores it at most once a second.

    All consumers of a queue share one row, so it is kept out of their transactions.
    """

    def __init__(self, database: Database, queue: str) -> None:
        self._database = database
        self._queue = queue
        self._newest = 0.0
        self._stored = 0.0
        self._task = asyncio.create_task(self._run())

    def note(self, received_at: float) -> None:
        """A job of a message of this age was taken."""
        if received_at > self._newest:
            self._newest = received_at

    async def close(self) -> None:
        """Store the last of it."""
        self._task.cancel()
        await self._store()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self._store()

    async def _store(self) -> None:
        newest = self._newest
        if newest <= self._stored:
            return
        with survive(log, f"watermark of {self._queue} waits", DatabaseUnavailable):
            async with self._database.transaction() as transaction:
                await note_watermark(transaction, self._queue, newest)
            self._stored = newest
