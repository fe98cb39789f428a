"""Parked jobs: look, replay, drop.  Nothing is dropped without a reason and its outcomes."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from sqlalchemy import delete, select

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import audit
from libs.common.admin.page import page
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import outcome, parked
from libs.common.jobs import DeliveryJob, FilterJob, RelayJob, StorageJob, decode
from libs.common.queue.protocol import QUEUES, Queue
from libs.common.trace import TraceRow, write_trace

_KINDS: dict[str, type[Any]] = {
    "filter": FilterJob,
    "delivery": DeliveryJob,
    "storage": StorageJob,
    "relay": RelayJob,
}
_LISTED = (
    parked.c.id,
    parked.c.queue,
    parked.c.mail_id,
    parked.c.reason,
    parked.c.attempts,
    parked.c.parked_at,
)


async def list_parked(
    database: Database,
    who: Principal,
    *,
    queue: str = "",
    mail_id: str = "",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Parked jobs by id, oldest first."""
    query = select(*_LISTED)
    query = query.where(parked.c.queue == queue) if queue else query
    query = query.where(parked.c.mail_id == mail_id) if mail_id else query
    async with database.reading() as transaction:
        return await page(transaction, query, [parked.c.id], cursor, limit)


async def _row(transaction: Transaction, number: int) -> Any:
    row = await transaction.one_or_none(select(parked).where(parked.c.id == number))
    if row is None:
        raise NotFound("id", f"there is no parked job {number}")
    return row


async def get_parked(database: Database, who: Principal, number: int) -> dict[str, Any]:
    """One parked job with its body: JSON when it can be read, else octets in hexadecimal."""
    async with database.reading() as transaction:
        row = await _row(transaction, number)
    shown = {str(column.name): getattr(row, column.name) for column in _LISTED}
    try:
        return {**shown, "job": msgspec.json.decode(row.body), "octets": None}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {**shown, "job": None, "octets": row.body.hex()}


async def replay(database: Database, queue: Queue, who: Principal, number: int) -> dict[str, Any]:
    """Put the job back on its queue.  Jobs are idempotent, so a second replay does no harm."""
    async with database.reading() as transaction:
        row = await _row(transaction, number)
    if row.queue not in QUEUES:
        raise RegistryError("id", f"{row.queue!r} is no queue of this version; drop it instead")
    # First durable in the queue, then gone from here: a crash in between leaves it twice.
    await queue.put(row.queue, [row.body])
    async with database.transaction() as transaction:
        await transaction.execute(delete(parked).where(parked.c.id == number))
        await write_trace(
            transaction, [TraceRow(row.mail_id, row.queue, "replayed", why=who.actor)]
        )
        await audit.note(transaction, who, "parked.replay", f"parked:{number}", mail_id=row.mail_id)
    return {str(column.name): getattr(row, column.name) for column in _LISTED}


async def drop(database: Database, who: Principal, number: int, reason: str) -> None:
    """Give the job up: its recipients without a state become `discarded`, by whom and why."""
    async with database.transaction() as transaction:
        row = await _row(transaction, number)
        now, why = time.time(), f"dropped by {who.actor}: {reason}"
        lost = _recipients(row.queue, row.body)
        rows = [
            {
                "mail_id": row.mail_id,
                "n": n,
                "recipient": address,
                "state": "discarded",
                "detail": why,
                "at": now,
            }
            for n, address in lost
        ]
        await transaction.insert(outcome, rows, ignore=True)
        steps = [TraceRow(row.mail_id, row.queue, "discarded", n, a, why, now) for n, a in lost]
        steps = steps or [TraceRow(row.mail_id, row.queue, "discarded", why=why, at=now)]
        await write_trace(transaction, steps)
        await transaction.execute(delete(parked).where(parked.c.id == number))
        await audit.note(
            transaction,
            who,
            "parked.drop",
            f"parked:{number}",
            mail_id=row.mail_id,
            reason=reason,
            recipients=[address for _, address in lost],
        )


def _recipients(queue: str, body: bytes) -> list[tuple[int, str]]:
    """(ordinal, address) of those whom the job was for; none when it cannot be read."""
    kind = _KINDS.get(queue)
    if kind is None:
        return []
    try:
        job = decode(body, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    if isinstance(job, StorageJob):
        return list(job.addresses)
    everybody = job.header.envelope.recipients
    mine = set(job.recipients) if isinstance(job, RelayJob) else {r.n for r in everybody}
    return [(r.n, r.address) for r in everybody if r.n in mine]
