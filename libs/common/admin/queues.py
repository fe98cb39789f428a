"""What waits where: queues (due now), rows (due later), and what nobody accounts for."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select

from libs.common.admin.principal import Principal
from libs.common.db import Database
from libs.common.db.schema import deferred, effect, message, outbox, outcome, parked, quarantine
from libs.common.queue.protocol import QUEUES, Queue

_SETTLING_SECONDS = 60.0
_DAY = 86400.0


async def list_queues(database: Database, queue: Queue, who: Principal) -> list[dict[str, Any]]:
    """Jobs waiting and in hand, and the age of the oldest, for queues and for tables of rows."""
    rows = []
    for name in QUEUES:
        depth = await queue.depth(name)
        rows.append(_line(name, "queue", depth.jobs, depth.oldest_seconds))
    return rows + await _tables(database)


def _line(name: str, kind: str, jobs: int, oldest: float) -> dict[str, Any]:
    return {"name": name, "kind": kind, "jobs": jobs, "oldest_seconds": round(oldest, 1)}


async def _tables(database: Database) -> list[dict[str, Any]]:
    now = time.time()
    tables = (
        (deferred, deferred.c.received_at),
        (parked, parked.c.parked_at),
        (outbox, outbox.c.created_at),
    )
    rows = []
    async with database.reading() as transaction:
        for table, since in tables:
            row = await transaction.one_or_none(
                select(func.count(), func.min(since)).select_from(table)
            )
            count, oldest = row if row else (0, None)
            rows.append(_line(table.name, "rows", count, now - oldest if oldest else 0.0))
    return rows


async def unaccounted(database: Database) -> int:
    """Messages of the last day, older than a minute, of which no row says what became of them.

    It should be 0; what is not is found by the sweeper and put again.
    """
    now = time.time()
    somewhere = [
        select(table.c.mail_id).where(table.c.mail_id == message.c.mail_id).exists()
        for table in (outcome, deferred, quarantine, outbox, parked)
    ]
    ours = message.c.origin.in_(["smtp", "api"]) | (
        select(effect.c.child).where(effect.c.child == message.c.mail_id).exists()
    )
    query = select(func.count()).where(
        ours,
        message.c.received_at.between(now - _DAY, now - _SETTLING_SECONDS),
        *[~there for there in somewhere],
    )
    async with database.reading() as transaction:
        return int(await transaction.scalar(query.select_from(message)) or 0)
