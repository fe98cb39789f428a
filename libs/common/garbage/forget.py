"""Rows of messages that no mailbox, undelete window, quarantine or job has any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError

from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import (
    deferred,
    held_copy,
    mailbox_message,
    message,
    outbox,
    parked,
    quarantine,
    recoverable,
)
from libs.common.garbage.needed import terminal
from libs.common.jobs import Origin
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_PAGE = 2000
# A mailbox, an undelete window and a copy that is held refer to the row by a foreign key: what they
# take up at this very moment makes the deletion fail, not the mail.
_NOWHERE = [
    ~select(table.c.mail_id).where(table.c.mail_id == message.c.mail_id).exists()
    for table in (mailbox_message, recoverable, held_copy, deferred, outbox, parked, quarantine)
]


@dataclass(slots=True)
class Forgotten:
    """How many rows went; a dry run also says which, and their octets by segment."""

    count: int = 0
    ids: set[str] = field(default_factory=set)
    octets: Counter[str] = field(default_factory=Counter)


async def forget(
    database: Database, before: float, held: Collection[str], *, dry_run: bool
) -> Forgotten:
    """Delete the rows of messages received before a time; `held` segments stay as they are."""
    gone = Forgotten()
    after = ""
    while True:
        async with database.reading() as transaction:
            last = await _end_of_page(transaction, after)
            rows = await _idle(transaction, after, last, before) if last else []
        if not last:
            return gone
        after = last
        idle = [row for row in rows if row.segment not in held]
        if not idle or not (dry_run or await _delete(database, idle)):
            continue
        gone.count += len(idle)
        for row in idle if dry_run else ():
            gone.ids.add(row.mail_id)
            gone.octets[row.segment] += row.record_length


async def _end_of_page(transaction: Transaction, after: str) -> str:
    page = select(message.c.mail_id).where(message.c.mail_id > after)
    page = page.order_by(message.c.mail_id).limit(_PAGE)
    return await transaction.scalar(select(func.max(page.subquery().c.mail_id))) or ""


async def _idle(transaction: Transaction, after: str, last: str, before: float) -> Sequence[Any]:
    """Rows of one page that nothing refers to and whose every recipient is at its end."""
    columns = ("mail_id", "segment", "record_length", "origin", "recipients")
    between: ColumnElement[bool] = message.c.mail_id > after
    query = select(*(message.c[name] for name in columns)).where(
        between, message.c.mail_id <= last, message.c.received_at < before, *_NOWHERE
    )
    rows = await transaction.rows(query)
    ends = Counter(mail_id for mail_id, _ in await terminal(transaction, [r.mail_id for r in rows]))
    # What a client appended has nobody who waits for it.
    return [r for r in rows if r.origin == Origin.IMAP or ends[r.mail_id] >= r.recipients]


async def _delete(database: Database, rows: Sequence[Any]) -> bool:
    gone = in_list(message.c.mail_id, [row.mail_id for row in rows], database.dialect)

    async def work(transaction: Transaction) -> None:
        await transaction.execute(delete(message).where(gone, *_NOWHERE))
        await failpoint("gc.before_forget")

    try:
        await database.retry(work)
    except IntegrityError as error:
        log.info("rows are forgotten later", reason=str(error.orig))
        return False
    await failpoint("gc.forgotten")
    return True
