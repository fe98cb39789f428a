"""The outbox pump: rows that could not be put on a queue when they came to be, put now.

Put first, removed after: a crash between the two puts a job twice, which every consumer bears.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Counter
from sqlalchemy import delete, select

from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.bulk import in_list
from libs.common.db.schema import outbox
from libs.common.queue.protocol import Queue, QueueError
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from libs.common.trace import park

log = get_logger(__name__)
_PUMPED = Counter("holub_storage_outbox_total", "Jobs moved from the outbox to a queue.", ["queue"])
_MOST = 200


async def pump_once(database: Database, queue: Queue) -> int:
    """Move up to 200 jobs; how many were moved."""
    query = select(outbox.c.id, outbox.c.queue, outbox.c.body).order_by(outbox.c.id).limit(_MOST)
    async with database.reading() as transaction:
        rows = await transaction.rows(query)
    by_queue: dict[str, list[bytes]] = {}
    for row in rows:
        by_queue.setdefault(row.queue, []).append(row.body)
    for name, bodies in by_queue.items():
        await queue.put(name, bodies)
        _PUMPED.labels(name).inc(len(bodies))
    await failpoint("storage.outbox_put")
    if rows:
        gone = in_list(outbox.c.id, [row.id for row in rows], database.dialect)
        async with database.transaction() as transaction:
            await transaction.execute(delete(outbox).where(gone))
    return len(rows)


async def pump(database: Database, queue: Queue, every: float) -> None:
    """Move jobs for ever, and what the broker itself gave up into rows; waits for backends."""
    while True:
        moved = 0
        with survive(log, "outbox waits", DatabaseUnavailable, QueueError):
            moved = await pump_once(database, queue)
            await queue.drain_parked(lambda name, lease, why: park(database, name, lease, why))
        if moved < _MOST:
            await asyncio.sleep(every)
