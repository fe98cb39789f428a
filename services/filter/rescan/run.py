"""The runs: which one is ours to go on with, what comes next in it, and its end.

A run is worked on by one process at a time (a lease); what counts is that each step is committed
only by whoever has the lease and stands at the same cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, update

from libs.common.db import Database, Transaction
from libs.common.db.schema import account, held_copy, mailbox, mailbox_message, message, rescan
from libs.common.jobs import Origin

LEASE_SECONDS = 60.0
_SLACK_SECONDS = 3600.0
_ARRIVED = (Origin.SMTP.value, Origin.API.value)
"""What came by itself: what clients append and what we write ourselves is not judged."""


@dataclass(frozen=True, slots=True)
class Run:
    """A re-scan as it stands."""

    id: int
    tenant_id: int | None
    since: float
    until: float
    dry_run: bool
    reason: str
    cursor: str
    """The last mail_id that is done with."""


class RunLost(Exception):
    """Another process goes on with it, or somebody stopped it."""


async def claim(database: Database, owner: str, now: float) -> Run | None:
    """The oldest run that nobody works on, for `owner` from now on; None: there is none."""
    free = or_(rescan.c.lease_until < now, rescan.c.lease_owner == owner)
    open_runs = select(rescan).where(rescan.c.state == "running", free).order_by(rescan.c.id)
    async with database.reading() as transaction:
        # Mostly there is none: nobody locks anything for that.
        if await transaction.one_or_none(open_runs.limit(1)) is None:
            return None
    async with database.transaction() as transaction:
        row = await transaction.one_or_none(open_runs.limit(1).with_for_update(skip_locked=True))
        if row is None:
            return None
        run = Run(*(getattr(row, name) for name in Run.__slots__))
        values = {"lease_owner": owner, "lease_until": now + LEASE_SECONDS, "note": ""}
        if not run.cursor:
            values |= {"cursor": _floor(run.since), "total": await _count(transaction, run)}
        await transaction.execute(update(rescan).where(rescan.c.id == run.id).values(**values))
    return Run(**{**_fields(run), "cursor": str(values.get("cursor", run.cursor))})


def _fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__slots__}


def _floor(since: float) -> str:
    """Below every mail_id (UUIDv7) that was made since then, clocks being as they are."""
    digits = f"{max(int((since - _SLACK_SECONDS) * 1000), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _chosen(run: Run) -> list[ColumnElement[bool]]:
    """Messages of the run: they arrived in its time, and somebody has a copy."""
    of_message = mailbox_message.c.mail_id == message.c.mail_id
    held = exists().where(held_copy.c.mail_id == message.c.mail_id)
    copy = exists().where(of_message)
    if run.tenant_id is not None:
        mine = account.c.tenant_id == run.tenant_id
        copy = exists().where(
            of_message,
            mailbox.c.id == mailbox_message.c.mailbox_id,
            account.c.id == mailbox.c.account_id,
            mine,
        )
        held = held.where(account.c.id == held_copy.c.account_id, mine)
    arrived = (message.c.received_at >= run.since) & (message.c.received_at < run.until)
    return [message.c.origin.in_(_ARRIVED), arrived, or_(copy, held)]


async def _count(transaction: Transaction, run: Run) -> int:
    query = select(func.count()).select_from(message).where(*_chosen(run))
    return int(await transaction.scalar(query) or 0)


async def upcoming(database: Database, run: Run, most: int) -> Sequence[Any]:
    """The next messages of the run: mail_id, place, verdict."""
    columns = ("mail_id", "segment", "record_offset", "record_length", "verdict", "verdict_text")
    query = select(*(message.c[name] for name in columns))
    query = query.where(message.c.mail_id > run.cursor, *_chosen(run))
    async with database.reading() as transaction:
        return await transaction.rows(query.order_by(message.c.mail_id).limit(most))


async def advance(
    transaction: Transaction, run: Run, owner: str, now: float, cursor: str, counts: dict[str, int]
) -> None:
    """Move the cursor in the transaction that does what it passes by; `RunLost` if not ours."""
    ours = (rescan.c.id == run.id) & (rescan.c.lease_owner == owner)
    ours &= (rescan.c.cursor == run.cursor) & (rescan.c.state == "running")
    added = {name: rescan.c[name] + count for name, count in counts.items()}
    values = {"cursor": cursor, "changed_at": now, "lease_until": now + LEASE_SECONDS, **added}
    if not await transaction.execute(update(rescan).where(ours).values(**values)):
        raise RunLost


async def finish(database: Database, run: Run, now: float) -> None:
    """Nothing is left of it."""
    mine = (rescan.c.id == run.id) & (rescan.c.state == "running")
    async with database.transaction() as transaction:
        done = update(rescan).where(mine).values(state="done", changed_at=now, lease_until=0.0)
        await transaction.execute(done)


async def note(database: Database, run: Run, text: str) -> None:
    """Say why it does not go on at present."""
    async with database.transaction() as transaction:
        mine = update(rescan).where(rescan.c.id == run.id)
        await transaction.execute(mine.values(note=text[:500]))
