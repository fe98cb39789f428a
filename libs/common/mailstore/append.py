"""Appending to mailboxes: one transaction for many messages and many accounts.

The same steps serve storage's batches, IMAP APPEND, COPY and MOVE: lock the accounts, lock the
mailboxes, allocate UIDs and MODSEQs, insert the rows, count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, bindparam, select, text, update

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import account, mailbox, mailbox_message
from libs.common.mailstore.flags import Flag


@dataclass(frozen=True, slots=True)
class Addition:
    """One message to be added to one mailbox."""

    account_id: int
    mailbox_id: int
    mail_id: str
    flags: int
    keywords: str
    internaldate: float
    size: int
    prefix: str
    uid: int = 0
    """At least this UID: what comes from another server may keep the one it had."""

    @classmethod
    def again(cls, account_id: int, mailbox_id: int, row: Any) -> Addition:
        """The same message in another mailbox; `row` is its `mailbox_message` row."""
        return cls(
            account_id,
            mailbox_id,
            row.mail_id,
            row.flags,
            row.keywords,
            row.internaldate,
            row.size,
            row.prefix,
        )

    @classmethod
    def back(cls, account_id: int, mailbox_id: int, row: Any) -> Addition:
        """The same of a row that was kept when it left its mailbox; it is deleted no more."""
        kept = cls.again(account_id, mailbox_id, row)
        return replace(kept, flags=kept.flags & ~Flag.DELETED)


async def lock_accounts(transaction: Transaction, ids: Sequence[int]) -> None:
    """Lock these accounts, ascending, so that two batches never wait for each other in a circle."""
    if transaction.dialect == "postgresql":
        # NO KEY: others may still insert rows that refer to the account.
        await transaction.rows(
            select(account.c.id)
            .where(in_list(account.c.id, sorted(set(ids)), transaction.dialect))
            .order_by(account.c.id)
            .with_for_update(key_share=True)
        )


async def lock_mailboxes(
    transaction: Transaction, ids: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Lock these mailboxes, ascending; id -> (uidnext, highestmodseq)."""
    query = select(mailbox.c.id, mailbox.c.uidnext, mailbox.c.highestmodseq)
    query = query.where(in_list(mailbox.c.id, sorted(set(ids)), transaction.dialect))
    query = query.order_by(mailbox.c.id)
    if transaction.dialect == "postgresql":
        query = query.with_for_update(key_share=True)
    return {row.id: (row.uidnext, row.highestmodseq) for row in await transaction.rows(query)}


async def add(transaction: Transaction, additions: Sequence[Addition]) -> list[int]:
    """Insert into mailboxes of accounts that the caller has locked; the UIDs, in order.

    Each mailbox's MODSEQ rises by one for the whole batch, and its UIDs ascend in the order of
    `additions`.  A mailbox that is gone raises KeyError before anything is written.
    """
    state = await lock_mailboxes(transaction, [a.mailbox_id for a in additions])
    next_uid = {number: uidnext for number, (uidnext, _) in state.items()}
    uids = []
    for addition in additions:
        uid = max(next_uid[addition.mailbox_id], addition.uid)
        uids.append(uid)
        next_uid[addition.mailbox_id] = uid + 1
    now = time.time()
    await transaction.insert(
        mailbox_message,
        [
            {
                "mailbox_id": a.mailbox_id,
                "uid": uid,
                "mail_id": a.mail_id,
                "flags": a.flags,
                "keywords": a.keywords,
                "modseq": state[a.mailbox_id][1] + 1,
                "internaldate": a.internaldate,
                "savedate": now,
                "size": a.size,
                "prefix": a.prefix,
            }
            for a, uid in zip(additions, uids, strict=True)
        ],
    )
    given = {number: next_uid[number] - uidnext for number, (uidnext, _) in state.items()}
    await _count_mailboxes(transaction, additions, given)
    await count_accounts(transaction, [(a.account_id, 1, a.size) for a in additions])
    return uids


async def _count_mailboxes(
    transaction: Transaction, additions: Sequence[Addition], given: Mapping[int, int]
) -> None:
    sums: dict[int, list[int]] = {}
    for a in additions:
        row = sums.setdefault(a.mailbox_id, [0, 0, 0])
        row[0] += 1
        row[1] += not a.flags & Flag.SEEN
        row[2] += a.size
    await change_counters(transaction, [(i, given[i], n, u, o) for i, (n, u, o) in sums.items()])


_MAILBOX_PG = text("""
    UPDATE mailbox SET uidnext = uidnext + d.uids, highestmodseq = highestmodseq + 1,
           messages = mailbox.messages + d.messages, unseen = mailbox.unseen + d.unseen,
           octets = mailbox.octets + d.octets
      FROM unnest(CAST(:ids AS bigint[]), CAST(:uids AS bigint[]), CAST(:messages AS bigint[]),
                  CAST(:unseen AS bigint[]), CAST(:octets AS bigint[]))
           AS d(id, uids, messages, unseen, octets)
     WHERE mailbox.id = d.id""")

_MAILBOX = (
    update(mailbox)
    .where(mailbox.c.id == bindparam("b_id"))
    .values(
        uidnext=mailbox.c.uidnext + bindparam("b_uids", type_=BigInteger),
        highestmodseq=mailbox.c.highestmodseq + 1,
        messages=mailbox.c.messages + bindparam("b_messages", type_=BigInteger),
        unseen=mailbox.c.unseen + bindparam("b_unseen", type_=BigInteger),
        octets=mailbox.c.octets + bindparam("b_octets", type_=BigInteger),
    )
)


async def change_counters(
    transaction: Transaction, changes: Sequence[tuple[int, int, int, int, int]]
) -> None:
    """Add (id, UIDs given, messages, unseen, octets) to mailboxes; MODSEQ rises by one."""
    if not changes:
        return
    if transaction.dialect == "postgresql":
        names = ("ids", "uids", "messages", "unseen", "octets")
        columns = zip(*changes, strict=True)
        await transaction.execute(
            _MAILBOX_PG, {n: list(c) for n, c in zip(names, columns, strict=True)}
        )
        return
    names = ("b_id", "b_uids", "b_messages", "b_unseen", "b_octets")
    await transaction.execute(_MAILBOX, [dict(zip(names, c, strict=True)) for c in changes])


_ACCOUNT_PG = text("""
    UPDATE account SET used_messages = used_messages + d.messages,
           used_octets = used_octets + d.octets
      FROM unnest(CAST(:ids AS bigint[]), CAST(:messages AS bigint[]), CAST(:octets AS bigint[]))
           AS d(id, messages, octets)
     WHERE account.id = d.id""")

_ACCOUNT = (
    update(account)
    .where(account.c.id == bindparam("b_id"))
    .values(
        used_messages=account.c.used_messages + bindparam("b_messages", type_=BigInteger),
        used_octets=account.c.used_octets + bindparam("b_octets", type_=BigInteger),
    )
)


async def count_accounts(transaction: Transaction, changes: Sequence[tuple[int, int, int]]) -> None:
    """Add (account id, messages, octets) to the usage that quotas are held against."""
    sums: dict[int, list[int]] = {}
    for number, messages, octets in changes:
        row = sums.setdefault(number, [0, 0])
        row[0] += messages
        row[1] += octets
    if not sums:
        return
    if transaction.dialect == "postgresql":
        columns = {
            "ids": list(sums),
            "messages": [m for m, _ in sums.values()],
            "octets": [o for _, o in sums.values()],
        }
        await transaction.execute(_ACCOUNT_PG, columns)
        return
    await transaction.execute(
        _ACCOUNT,
        [{"b_id": i, "b_messages": m, "b_octets": o} for i, (m, o) in sums.items()],
    )
