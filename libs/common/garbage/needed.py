"""Which records are needed: a row points to them, or their message is not at its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import select

from libs.common.blobstore.protocol import IndexEntry
from libs.common.db import Transaction
from libs.common.db.bulk import in_list
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
)
from libs.common.jobs import Origin, RecordHeader
from libs.common.jobs.record import decode_header


class Need(Enum):
    """Why a record stays."""

    ROW = "row"
    """Its message's row points to it, and nothing else does: it may be moved."""
    OPEN = "open"
    """A job may ask for it at the place where it is."""
    LATER = "later"
    """It is too young, or behind a watermark: nothing can be said yet."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of some messages."""

    places: dict[str, tuple[str, int]]
    """The segment and offset that each row points to."""
    ended: set[tuple[str, int]]
    """(mail_id, n) with a terminal state."""
    held: set[str]
    """Those with a job in a row, or in quarantine."""
    begun: set[str]
    """Those that anything at all knows of: the others are orphans."""


async def known(transaction: Transaction, ids: Sequence[str]) -> Known:
    """Ask for many messages at once."""

    async def having(column: Any) -> set[str]:
        query = select(column).where(in_list(column, ids, transaction.dialect))
        return {row[0] for row in await transaction.rows(query)}

    query = select(message.c.mail_id, message.c.segment, message.c.record_offset)
    query = query.where(in_list(message.c.mail_id, ids, transaction.dialect))
    rows = await transaction.rows(query)
    places = {row.mail_id: (row.segment, row.record_offset) for row in rows}
    ended = await terminal(transaction, ids)
    held: set[str] = set()
    for table in (deferred, outbox, parked, quarantine):
        held |= await having(table.c.mail_id)
    begun = held | set(places) | {mail_id for mail_id, _ in ended}
    for column in (effect.c.child, delivery_log.c.mail_id, plan.c.mail_id):
        begun |= await having(column)
    return Known(places, ended, held, begun)


async def terminal(transaction: Transaction, ids: Sequence[str]) -> set[tuple[str, int]]:
    """The (mail_id, n) of these messages that are at their end."""
    query = select(outcome.c.mail_id, outcome.c.n)
    query = query.where(in_list(outcome.c.mail_id, ids, transaction.dialect))
    return {(row.mail_id, row.n) for row in await transaction.rows(query)}


async def needs(
    transaction: Transaction,
    records: Sequence[IndexEntry],
    before: float,
    without: Collection[str] = (),
) -> list[Need]:
    """What needs each record.

    `without` names messages whose rows are about to go (a dry run only looks).
    `msgspec.MsgspecError` when a header is not one of ours.
    """
    headers = [decode_header(record.header) for record in records]
    facts = await known(transaction, sorted({header.mail_id for header in headers}))
    for mail_id in facts.places.keys() & without:
        del facts.places[mail_id]
    return [
        Need.LATER if header.received_at >= before else _need(record, header, facts)
        for record, header in zip(records, headers, strict=True)
    ]


def _need(record: IndexEntry, header: RecordHeader, facts: Known) -> Need:
    pointed = facts.places.get(header.mail_id) == (record.ref.segment, record.ref.offset)
    if _finished(header, facts):
        return Need.ROW if pointed else Need.NOTHING
    return Need.OPEN


def _finished(header: RecordHeader, facts: Known) -> bool:
    """Nothing of this message is under way: no job, neither here nor on a queue, has it."""
    mail_id = header.mail_id
    if mail_id in facts.held:
        return False
    if header.origin is Origin.IMAP:
        return True  # it came with its rows, and never was a job
    if header.origin in (Origin.DSN, Origin.CHILD) and mail_id not in facts.begun:
        return True  # the transaction that would have made it ours never came about
    return all((mail_id, r.n) in facts.ended for r in header.envelope.recipients)
