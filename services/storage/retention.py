"""Rows that tell of mail long gone: how long they are kept, and what they must outlive.

`trace` only tells people what happened: no decision reads it, so its age alone counts.

`plan`, `delivery_log` and `effect` make that what is done once is not done again.  They are asked
when a job of their message comes again: from a queue, from a row (deferred, outbox, parked), out
of quarantine, or from the sweeper.  So a row goes only when nothing of that can come any more:

* the row is older than the setting, and than the watermark of every queue, which holds jobs
  back as for the garbage collector (rule 2); its message is older still.  The `mail_id` does not
  tell: those of reports, redirects and answers are hashes (UUIDv5), so that they are made once;
* no row waits with a job for it, and it is not in quarantine;
* every recipient has an outcome, so the sweeper passes it over (it looks back hours, not months);
* of an effect: its child has an outcome too, because the collector takes a child that neither an
  effect nor an outcome knows for an orphan (libs.common.garbage.needed).

`outcome` stays: it tells the collector that a record, which may lie for years in a segment beside
mail that is read, is at its end, and that makes compaction possible; and `vanished` stays, for it
is what QRESYNC answers from.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, or_, select

from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.schema import (
    deferred,
    delivery_log,
    effect,
    message,
    outbox,
    outcome,
    parked,
    plan,
    quarantine,
    trace,
)
from libs.common.queue.protocol import Queue, QueueError
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from libs.common.trace import RELAY, taken_before
from libs.common.trace.watermark import QUEUES
from services.storage.collect import claim

log = get_logger(__name__)
_NAME = "retention"
_EVERY_SECONDS = 6 * 3600.0
_LOOK_SECONDS = 300.0
_MARGIN_SECONDS = 86400.0
_PAGE = 1000
_DAY = 86400.0
_MAIL_ID = 36
"""Characters."""
Conditions = list[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Ages:
    """How old rows become, in days; 0: they stay for ever."""

    trace_days: float
    ledger_days: float


async def look_after_retention(database: Database, queue: Queue, ages: Ages) -> None:
    """Let go what is old enough, for ever; one process of all does it."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with survive(log, "old rows stay for now", DatabaseUnavailable, QueueError):
            if await claim(database, _NAME, _EVERY_SECONDS, time.time()):
                gone = await let_go(database, queue, ages, time.time())
                log.info("old rows are gone", **gone)


async def let_go(database: Database, queue: Queue, ages: Ages, now: float) -> dict[str, int]:
    """One pass; how many rows of each table went."""
    gone: dict[str, int] = {}
    if ages.trace_days:
        gone["trace"] = await _pass(database, trace, trace.c.at, now - ages.trace_days * _DAY, [])
    if ages.ledger_days:
        line = await taken_before(database, queue, now, _MARGIN_SECONDS, (*QUEUES, *RELAY))
        before = min(line, now - ages.ledger_days * _DAY)
        for made_at, conditions in _ledger():
            table = made_at.table
            gone[table.name] = await _pass(database, table, made_at, before, conditions)
    return gone


def _ledger() -> list[tuple[Any, Conditions]]:
    """The time of a row, and what must hold before it goes."""
    # The plan of a release is kept under its message and the recipient (DeliveryJob.plan_id).
    planned = func.substr(plan.c.mail_id, 1, _MAIL_ID)
    of_child = [_ended(effect.c.child), *_nowhere(effect.c.child)]
    return [
        (plan.c.created_at, _at_its_end(planned)),
        (delivery_log.c.delivered_at, _at_its_end(delivery_log.c.mail_id)),
        (effect.c.at, [*_at_its_end(effect.c.mail_id), *of_child]),
    ]


async def _pass(
    database: Database, table: Table, made_at: Any, before: float, conditions: Conditions
) -> int:
    """Delete page by page, each in a transaction of its own, so that nobody waits long."""
    # Ids are given in the order of time, which saves the busiest table an index.
    key = table.c.id if "id" in table.c else made_at
    count, after = 0, -1
    while True:
        async with database.reading() as transaction:
            last = await _end_of_page(transaction, key, made_at, after, before)
        if last is None:
            return count
        statement = delete(table).where(key > after, key <= last, made_at < before, *conditions)
        count += await database.retry(lambda tx, work=statement: tx.execute(work))  # type: ignore[misc]
        after = last
        await asyncio.sleep(0)


async def _end_of_page(
    transaction: Transaction, key: Any, made_at: Any, after: float, before: float
) -> Any:
    """The last key of the next rows, or None when none of them is old enough."""
    page = select(key.label("key"), made_at.label("made_at")).where(key > after)
    rows = page.order_by(key).limit(_PAGE).subquery()
    found = await transaction.rows(select(func.max(rows.c.key), func.min(rows.c.made_at)))
    last, oldest = found[0]
    return last if last is not None and oldest < before else None


def _at_its_end(mail_id: Any) -> Conditions:
    outcomes = select(func.count()).where(outcome.c.mail_id == message.c.mail_id)
    open_still = select(message.c.mail_id).where(
        message.c.mail_id == mail_id, message.c.recipients > outcomes.scalar_subquery()
    )
    return [_ended(mail_id), ~open_still.exists(), *_nowhere(mail_id)]


def _ended(mail_id: Any) -> ColumnElement[bool]:
    """It has an outcome; an effect without a child message has nothing to wait for."""
    return or_(mail_id == "", select(outcome.c.n).where(outcome.c.mail_id == mail_id).exists())


def _nowhere(mail_id: Any) -> Conditions:
    waiting = (deferred, outbox, parked, quarantine)
    return [~select(t.c.mail_id).where(t.c.mail_id == mail_id).exists() for t in waiting]
