"""Rows that tell of mail long gone: how long they are kept, and what they must outlive.

`trace` only tells people what happened: no decision reads it, so its age alone counts.

`plan`, `delivery_log` and `effect` make that what is done once is not done again.  They are asked
when a job of their message comes again: from a queue, from a row (deferred, outbox, parked), out
of quarantine, or from the sweeper.  So a row goes only when nothing of that can come any more:

* the message is older than the setting, and than the watermark of every queue, which holds jobs
  back as for the garbage collector (rule 2);
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

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select

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
        gone["trace"] = await _pass(database, trace, first_of(now - ages.trace_days * _DAY), [])
    if ages.ledger_days:
        line = await taken_before(database, queue, now, _MARGIN_SECONDS, (*QUEUES, *RELAY))
        before = first_of(min(line, now - ages.ledger_days * _DAY))
        for table in (plan, delivery_log, effect):
            conditions = [*_at_its_end(table.c.mail_id)]
            if table is effect:
                conditions += [_ended(effect.c.child), *_nowhere(effect.c.child)]
            gone[table.name] = await _pass(database, table, before, conditions)
    return gone


def first_of(moment: float) -> str:
    """The first `mail_id` that can be made at a time: they sort as times do (RFC 9562 §6.11)."""
    digits = f"{int(max(moment, 0) * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


async def _pass(
    database: Database, table: Table, before: str, conditions: list[ColumnElement[bool]]
) -> int:
    """Delete page by page, each in a transaction of its own, so that nobody waits long."""
    count, after = 0, ""
    while True:
        async with database.reading() as transaction:
            last = await _end_of_page(transaction, table, after, before)
        if not last:
            return count
        between = and_(table.c.mail_id > after, table.c.mail_id <= last)
        statement = delete(table).where(between, *conditions)
        count += await database.retry(lambda tx, work=statement: tx.execute(work))  # type: ignore[misc]
        after = last
        await asyncio.sleep(0)


async def _end_of_page(transaction: Transaction, table: Table, after: str, before: str) -> str:
    page = select(table.c.mail_id).where(table.c.mail_id > after, table.c.mail_id < before)
    page = page.order_by(table.c.mail_id).limit(_PAGE)
    return await transaction.scalar(select(func.max(page.subquery().c.mail_id))) or ""


def _at_its_end(mail_id: Any) -> list[ColumnElement[bool]]:
    outcomes = select(func.count()).where(outcome.c.mail_id == message.c.mail_id)
    open_still = select(message.c.mail_id).where(
        message.c.mail_id == mail_id, message.c.recipients > outcomes.scalar_subquery()
    )
    return [_ended(mail_id), ~open_still.exists(), *_nowhere(mail_id)]


def _ended(mail_id: Any) -> ColumnElement[bool]:
    """It has an outcome; an effect without a child message has nothing to wait for."""
    return or_(mail_id == "", select(outcome.c.n).where(outcome.c.mail_id == mail_id).exists())


def _nowhere(mail_id: Any) -> list[ColumnElement[bool]]:
    waiting = (deferred, outbox, parked, quarantine)
    return [~select(t.c.mail_id).where(t.c.mail_id == mail_id).exists() for t in waiting]
