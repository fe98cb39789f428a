"""Letting held mail go, or throwing it away: once, with its audit and trace.

A release takes the recipient's `quarantined` from the ledger and puts a delivery job into the
outbox, in one transaction.  The row stays as `released` until another state is reached, so that
`settle_released` can put the job again when a queue was lost (I16); the plan and the delivery
log see to it that one release gives one copy (I2).  What a re-scan took out of a mailbox is put
back there at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, select, update

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.admin import audit, reach
from libs.common.admin.principal import Forbidden, Principal, Role
from libs.common.blobstore.protocol import BlobMissing, BlobRef, BlobStore
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, deferred, message, outbox, outcome, plan, quarantine
from libs.common.jobs import DeliveryJob, encode
from libs.common.jobs.record import decode_header
from libs.common.jobs.verdict import MALWARE
from libs.common.mailstore.held import put_back, throw_away
from libs.common.mailstore.learn import Lesson, teach
from libs.common.runtime.log import get_logger
from libs.common.trace import TraceRow, write_trace

log = get_logger(__name__)
_MOST = 100


async def release(
    database: Database,
    blobs: BlobStore,
    who: Principal,
    mail_id: str,
    ns: Sequence[int] | None = None,
    *,
    learn: bool = False,
) -> list[dict[str, Any]]:
    """Deliver held mail to these recipients (None: to all that are held and within reach).

    `learn` also tells the spam engines that it was wanted.
    """
    whole = await _whole(database, blobs, mail_id)

    async def work(transaction: Transaction) -> list[dict[str, Any]]:
        rows = await _held(transaction, who, mail_id, ns)
        for row in rows:
            _may(who, row.reason)
            job = _for(whole, row.n)
            await _let_go(transaction, row, job, f"by {who.actor}")
            if learn:
                await _teach(transaction, row)
        await audit.note(
            transaction,
            who,
            "quarantine.release",
            f"mail:{mail_id}",
            recipients=[row.recipient for row in rows],
            learned=learn,
        )
        return [{"mail_id": mail_id, "n": row.n, "recipient": row.recipient} for row in rows]

    return await database.retry(work)


async def discard(database: Database, who: Principal, mail_id: str, n: int) -> None:
    """Throw one recipient's copy away."""

    async def work(transaction: Transaction) -> None:
        rows = await _held(transaction, who, mail_id, [n])
        await _discard(transaction, rows, f"deleted from quarantine by {who.actor}")
        await audit.note(
            transaction, who, "quarantine.delete", f"mail:{mail_id}", recipient=rows[0].recipient
        )

    await database.retry(work)


async def expire_held(database: Database, before: float) -> int:
    """Discard what has been held since before this time, up to 100 at once; how many."""

    async def work(transaction: Transaction) -> int:
        query = select(quarantine).where(
            quarantine.c.state == "held", quarantine.c.created_at < before
        )
        rows = await transaction.rows(query.order_by(quarantine.c.created_at).limit(_MOST))
        await _discard(transaction, rows, "held in quarantine for too long")
        return len(rows)

    return await database.retry(work)


async def settle_released(database: Database, blobs: BlobStore) -> int:
    """Forget what reached its end, and put again what did not; how many were put again."""
    await database.retry(_settle)
    due = exists().where(_same_unit(deferred))
    waiting = exists().where(outbox.c.mail_id == quarantine.c.mail_id)
    query = select(quarantine).where(quarantine.c.state == "released", ~due, ~waiting)
    async with database.reading() as transaction:
        rows = await transaction.rows(query.limit(_MOST))
    again = 0
    for row in rows:
        try:
            whole = await _whole(database, blobs, row.mail_id)
        except RegistryError as error:
            log.error("released mail cannot be delivered", mail_id=row.mail_id, error=str(error))
            continue
        async with database.transaction() as transaction:
            await _put(transaction, row, _for(whole, row.n))
        again += 1
    return again


async def _settle(transaction: Transaction) -> None:
    """Released and ended: the row is done.  Held again on the way: it is held as before."""
    here = quarantine.c.state == "released"
    again = exists().where(_same_unit(outcome), outcome.c.state == "quarantined")
    await transaction.execute(update(quarantine).where(here, again).values(state="held"))
    await transaction.execute(delete(quarantine).where(here, exists().where(_same_unit(outcome))))


def _same_unit(table: Any) -> ColumnElement[bool]:
    return and_(table.c.mail_id == quarantine.c.mail_id, table.c.n == quarantine.c.n)


async def _whole(database: Database, blobs: BlobStore, mail_id: str) -> DeliveryJob:
    """The delivery of a message to everybody, as filter would have put it."""
    columns = (message.c.segment, message.c.record_offset, message.c.record_length)
    query = select(message.c.size, message.c.prefix, message.c.disguised, *columns)
    async with database.reading() as transaction:
        row = await transaction.one_or_none(query.where(message.c.mail_id == mail_id))
    if row is None:
        raise NotFound("mail_id", f"nothing of {mail_id} is held that could be released")
    ref = BlobRef(row.segment, row.record_offset, row.record_length)
    try:
        record = await blobs.read(ref)
    except BlobMissing as error:
        raise RegistryError("mail_id", "its content is not in the blob store any more") from error
    hidden = tuple(map(int, row.disguised.split()))
    header = decode_header(record.header)
    return DeliveryJob(ref, header, row.size, prefix=row.prefix, disguised=hidden)


async def _held(
    transaction: Transaction, who: Principal, mail_id: str, ns: Sequence[int] | None
) -> Sequence[Any]:
    mine = await reach.recipients(transaction, who, quarantine.c.recipient)
    query = select(quarantine).where(mine, quarantine.c.mail_id == mail_id)
    query = query if ns is None else query.where(quarantine.c.n.in_(sorted(set(ns))))
    rows = await transaction.rows(query.order_by(quarantine.c.n))
    missing = set(ns or ()) - {row.n for row in rows}
    if missing or not rows:
        named = f" for recipient {min(missing)}" if missing else ""
        raise NotFound("mail_id", f"nothing of {mail_id} is held{named}")
    held = [row for row in rows if row.state == "held"]
    if not held or (ns is not None and len(held) < len(rows)):
        raise AlreadyExists("mail_id", f"{mail_id} is released already")
    return held


def _may(who: Principal, reason: str) -> None:
    if who.role is Role.ACCOUNT and reason.startswith(MALWARE):
        raise Forbidden("mail_id", "this was held for malware; ask an administrator to release it")


def _for(whole: DeliveryJob, n: int) -> DeliveryJob:
    """The delivery to one recipient, with a plan of its own."""
    envelope = whole.header.envelope
    one = tuple(r for r in envelope.recipients if r.n == n)
    envelope = msgspec.structs.replace(envelope, recipients=one)
    header = msgspec.structs.replace(whole.header, envelope=envelope)
    return msgspec.structs.replace(whole, header=header, release=str(n))


async def _let_go(transaction: Transaction, row: Any, job: DeliveryJob, why: str) -> None:
    if await put_in_place(transaction, row, why):
        return
    unit = (quarantine.c.mail_id == row.mail_id, quarantine.c.n == row.n)
    changed = await transaction.execute(
        update(quarantine).where(*unit, quarantine.c.state == "held").values(state="released")
    )
    if not changed:
        raise AlreadyExists("mail_id", f"{row.mail_id} is released already")
    await transaction.execute(
        delete(outcome).where(
            outcome.c.mail_id == row.mail_id,
            outcome.c.n == row.n,
            outcome.c.state == "quarantined",
        )
    )
    # When it was released before and held again on the way, it is planned anew.
    await transaction.execute(delete(plan).where(plan.c.mail_id == job.plan_id))
    await _put(transaction, row, job)
    trace = TraceRow(row.mail_id, "quarantine", "released", row.n, row.recipient, why)
    await write_trace(transaction, [trace])


async def put_in_place(transaction: Transaction, row: Any, why: str) -> set[int]:
    """Put back what a re-scan took out of mailboxes for this quarantine row; ids of these.

    None: it was never in one, or its account is gone.
    """
    if not (places := await put_back(transaction, row.mail_id, row.n)):
        return set()
    where = ", ".join(places)
    unit = (row.mail_id, row.n)
    mine = (quarantine.c.mail_id == unit[0]) & (quarantine.c.n == unit[1])
    await transaction.execute(delete(quarantine).where(mine))
    await transaction.execute(
        update(outcome)
        .where(outcome.c.mail_id == unit[0], outcome.c.n == unit[1])
        .values(state="delivered", detail=where, at=time.time())
    )
    told = f"{why}: back in {where}"
    trace = TraceRow(row.mail_id, "quarantine", "released", row.n, row.recipient, told)
    await write_trace(transaction, [trace])
    return set(places.values())


async def _put(transaction: Transaction, row: Any, job: DeliveryJob) -> None:
    put = {
        "key": f"release:{row.mail_id}:{row.n}",
        "queue": "delivery",
        "mail_id": row.mail_id,
        "body": encode(job),
        "created_at": time.time(),
    }
    await transaction.insert(outbox, [put], ignore=True)


async def _discard(transaction: Transaction, rows: Sequence[Any], why: str) -> None:
    for row in rows:
        unit = (row.mail_id, row.n)
        await throw_away(transaction, *unit)
        await transaction.execute(
            delete(quarantine).where(quarantine.c.mail_id == unit[0], quarantine.c.n == unit[1])
        )
        await transaction.execute(
            update(outcome)
            .where(outcome.c.mail_id == unit[0], outcome.c.n == unit[1])
            .values(state="discarded", detail=why, at=time.time())
        )
    await write_trace(
        transaction,
        [TraceRow(r.mail_id, "quarantine", "discarded", r.n, r.recipient, why) for r in rows],
    )


async def _teach(transaction: Transaction, row: Any) -> None:
    """Only an account's own address: whoever stands behind an alias did not say a word."""
    query = select(account.c.id).where(account.c.address == row.recipient.lower())
    owner = await transaction.scalar(query)
    if owner is not None:
        lesson = Lesson(f"release:{row.mail_id}:{row.n}", row.mail_id, spam=False)
        await teach(transaction, owner, [lesson])
