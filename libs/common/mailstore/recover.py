"""Undelete: what was expunged can be had back for some days (`recoverable`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import mailbox, mailbox_message, message, recoverable
from libs.common.mailstore import folders
from libs.common.mailstore.append import Addition, add, lock_accounts
from libs.common.mailstore.quota import check_room

_COPIED = ("uid", "mail_id", "flags", "keywords", "internaldate", "size", "prefix")
_EXPIRED_AT_ONCE = 1000


async def keep(
    transaction: Transaction, mailbox_id: int, rows: Sequence[Any], seconds: float
) -> None:
    """Note these `mailbox_message` rows, which are about to go; 0 seconds keep nothing."""
    if seconds <= 0 or not rows:
        return
    query = select(mailbox.c.account_id, mailbox.c.name).where(mailbox.c.id == mailbox_id)
    account_id, name = await transaction.one_or_none(query)
    now = time.time()
    of = {"account_id": account_id, "mailbox": name}
    at = {"expunged_at": now, "expires_at": now + seconds}
    await transaction.insert(
        recoverable, [{**of, **{key: getattr(row, key) for key in _COPIED}, **at} for row in rows]
    )


async def keep_all(transaction: Transaction, mailbox_id: int, seconds: float) -> None:
    """Note every message of a mailbox that is about to be deleted."""
    query = select(mailbox_message).where(mailbox_message.c.mailbox_id == mailbox_id)
    await keep(transaction, mailbox_id, await transaction.rows(query), seconds)


async def list_recoverable(transaction: Transaction, account_id: int) -> Sequence[Any]:
    """Rows of (id, mailbox, uid, mail_id, size, expunged_at, expires_at, subject), newest first."""
    columns = [recoverable.c[n] for n in ("id", "mailbox", "uid", "mail_id", "size")]
    query = (
        select(*columns, recoverable.c.expunged_at, recoverable.c.expires_at, message.c.subject)
        .join_from(recoverable, message, message.c.mail_id == recoverable.c.mail_id)
        .where(recoverable.c.account_id == account_id, recoverable.c.expires_at > time.time())
        .order_by(recoverable.c.expunged_at.desc(), recoverable.c.id)
    )
    return await transaction.rows(query)


async def restore(
    transaction: Transaction, account_id: int, ids: Sequence[int]
) -> list[tuple[int, str, int]]:
    """Put messages back where they were, not \\Deleted; (mailbox id, its name, new UID).

    A mailbox that is gone is made again.  All of them come back or none: `OVERQUOTA` when the
    account has no room.  Ids that are not this account's, or have expired, are passed over.
    """
    await lock_accounts(transaction, [account_id])
    query = select(recoverable).where(
        recoverable.c.account_id == account_id,
        recoverable.c.expires_at > time.time(),
        in_list(recoverable.c.id, ids, transaction.dialect),
    )
    rows = await transaction.rows(query.order_by(recoverable.c.mailbox, recoverable.c.uid))
    await check_room(transaction, account_id, len(rows), sum(row.size for row in rows))
    names = {row.mailbox for row in rows}
    boxes = {name: await folders.made(transaction, account_id, name) for name in names}
    additions = [Addition.back(account_id, boxes[row.mailbox], row) for row in rows]
    uids = await add(transaction, additions) if additions else []
    done = [row.id for row in rows]
    await transaction.execute(
        delete(recoverable).where(in_list(recoverable.c.id, done, transaction.dialect))
    )
    return [(boxes[r.mailbox], r.mailbox, uid) for r, uid in zip(rows, uids, strict=True)]


async def expire(transaction: Transaction) -> int:
    """Forget what can be had back no longer; how many, at most a thousand at a time."""
    due = select(recoverable.c.id).where(recoverable.c.expires_at <= time.time())
    ids = [row.id for row in await transaction.rows(due.limit(_EXPIRED_AT_ONCE))]
    await transaction.execute(
        delete(recoverable).where(in_list(recoverable.c.id, ids, transaction.dialect))
    )
    return len(ids)
