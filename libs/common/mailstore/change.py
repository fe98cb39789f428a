"""Changing what is in a mailbox: flags, expunge, move.

Every function locks the mailbox's row first and raises its MODSEQ by one when, and only when,
something changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Row, bindparam, delete, select, text, update

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import mailbox, mailbox_message, vanished
from libs.common.mailstore.append import (
    Addition,
    add,
    change_counters,
    count_accounts,
    lock_accounts,
    lock_mailboxes,
)
from libs.common.mailstore.flags import MAX_KEYWORDS, Flag
from libs.common.mailstore.learn import Lesson, of_keywords, teach
from libs.common.mailstore.mailbox import Entry, MailStoreError
from libs.common.mailstore.recover import keep

Mode = Literal["add", "remove", "replace"]
_PAIR = 2


async def sources(
    transaction: Transaction, mailbox_id: int, uids: Sequence[int]
) -> Sequence[Row[Any]]:
    """The rows of these messages, by UID; those that are gone are left out."""
    query = select(mailbox_message).where(
        mailbox_message.c.mailbox_id == mailbox_id,
        in_list(mailbox_message.c.uid, uids, transaction.dialect),
    )
    return await transaction.rows(query.order_by(mailbox_message.c.uid))


def _entry(row: Row[Any], flags: int, keywords: str, modseq: int) -> Entry:
    return Entry(row.uid, row.mail_id, flags, keywords, modseq, row.internaldate, row.size)


def _changed(row: Row[Any], mode: Mode, flags: int, keywords: str) -> tuple[int, str]:
    if mode == "replace":
        return flags, keywords
    old, given = set(row.keywords.split()), set(keywords.split())
    if mode == "add":
        merged = old | given
        if len(merged) > MAX_KEYWORDS:
            raise MailStoreError("LIMIT", f"a message has at most {MAX_KEYWORDS} keywords")
        return row.flags | flags, " ".join(sorted(merged))
    return row.flags & ~flags, " ".join(sorted(old - given))


async def change_flags(
    transaction: Transaction,
    mailbox_id: int,
    uids: Sequence[int],
    mode: Mode,
    flags: int,
    keywords: str,
    unchangedsince: int | None,
) -> tuple[list[Entry], list[int]]:
    """(entries as they are now, UIDs that fail UNCHANGEDSINCE) (RFC 7162 §3.1.3)."""
    state = await lock_mailboxes(transaction, [mailbox_id])
    if mailbox_id not in state:
        raise MailStoreError("NONEXISTENT", "the mailbox is gone")
    modseq = state[mailbox_id][1] + 1
    entries, failed, updates, unseen = [], [], [], 0
    lessons: list[Lesson] = []
    for row in await sources(transaction, mailbox_id, uids):
        if unchangedsince is not None and row.modseq > unchangedsince:
            failed.append(row.uid)
            continue
        new_flags, new_keywords = _changed(row, mode, flags, keywords)
        if (new_flags, new_keywords) == (row.flags, row.keywords):
            entries.append(_entry(row, row.flags, row.keywords, row.modseq))
            continue
        unseen += bool(row.flags & Flag.SEEN) - bool(new_flags & Flag.SEEN)
        updates.append({"u": row.uid, "f": new_flags, "k": new_keywords})
        if new_keywords != row.keywords:
            spam = of_keywords(row.keywords, new_keywords)
            if spam is not None:
                place = f"{mailbox_id}:{row.uid}:{modseq}"
                lessons.append(Lesson(place, row.mail_id, spam))
        entries.append(_entry(row, new_flags, new_keywords, modseq))
    if updates:
        await _update(transaction, mailbox_id, modseq, updates)
        await change_counters(transaction, [(mailbox_id, 0, 0, unseen, 0)])
    if lessons:
        await teach(transaction, (await _owner(transaction, mailbox_id))[0], lessons)
    return entries, failed


_UPDATE_PG = text("""
    UPDATE mailbox_message SET flags = d.flags, keywords = d.keywords, modseq = :modseq
      FROM unnest(CAST(:uids AS bigint[]), CAST(:flags AS integer[]), CAST(:keywords AS text[]))
           AS d(uid, flags, keywords)
     WHERE mailbox_message.mailbox_id = :mailbox AND mailbox_message.uid = d.uid""")


async def _update(
    transaction: Transaction, mailbox_id: int, modseq: int, updates: list[dict[str, Any]]
) -> None:
    if transaction.dialect == "postgresql":
        await transaction.execute(
            _UPDATE_PG,
            {
                "mailbox": mailbox_id,
                "modseq": modseq,
                "uids": [u["u"] for u in updates],
                "flags": [u["f"] for u in updates],
                "keywords": [u["k"] for u in updates],
            },
        )
        return
    statement = (
        update(mailbox_message)
        .where(mailbox_message.c.mailbox_id == mailbox_id, mailbox_message.c.uid == bindparam("u"))
        .values(flags=bindparam("f"), keywords=bindparam("k"), modseq=modseq)
    )
    await transaction.execute(statement, updates)


async def expunge(
    transaction: Transaction, mailbox_id: int, uids: Sequence[int], recoverable_seconds: float
) -> list[int]:
    """Remove those of these messages that are \\Deleted; the UIDs removed."""
    account_id, _ = await _owner(transaction, mailbox_id)
    await lock_accounts(transaction, [account_id])
    state = await lock_mailboxes(transaction, [mailbox_id])
    rows = [r for r in await sources(transaction, mailbox_id, uids) if r.flags & Flag.DELETED]
    await keep(transaction, mailbox_id, rows, recoverable_seconds)
    await take_out(transaction, account_id, mailbox_id, state[mailbox_id][1] + 1, rows)
    return [row.uid for row in rows]


async def remove(
    transaction: Transaction,
    account_id: int,
    mailbox_id: int,
    uids: Sequence[int],
    recoverable_seconds: float,
) -> list[int]:
    """Remove these messages, \\Deleted or not, of an account that is locked; the UIDs removed."""
    state = await lock_mailboxes(transaction, [mailbox_id])
    if mailbox_id not in state:
        raise MailStoreError("NONEXISTENT", "the mailbox is gone")
    rows = await sources(transaction, mailbox_id, uids)
    await keep(transaction, mailbox_id, rows, recoverable_seconds)
    await take_out(transaction, account_id, mailbox_id, state[mailbox_id][1] + 1, rows)
    return [row.uid for row in rows]


async def move(
    transaction: Transaction,
    account_id: int,
    mailbox_id: int,
    uids: Sequence[int],
    to_id: int,
    spam: bool | None = None,
) -> list[tuple[int, int]]:
    """Move within an account that is locked; (old UID, new UID).

    `spam` is what the move says to the spam engines, if anything.
    """
    state = await lock_mailboxes(transaction, [mailbox_id, to_id])
    if len(state) < _PAIR and mailbox_id != to_id:
        raise MailStoreError("NONEXISTENT", "the mailbox is gone")
    rows = await sources(transaction, mailbox_id, uids)
    if not rows:
        return []
    additions = [Addition.again(account_id, to_id, row) for row in rows]
    new = await add(transaction, additions)
    raised = 2 if mailbox_id == to_id else 1
    await take_out(transaction, account_id, mailbox_id, state[mailbox_id][1] + raised, rows)
    return await placed(transaction, account_id, to_id, rows, new, spam)


async def placed(
    transaction: Transaction,
    account_id: int,
    to_id: int,
    rows: Sequence[Row[Any]],
    new: Sequence[int],
    spam: bool | None,
) -> list[tuple[int, int]]:
    """(old UID, new UID) of what was put into a mailbox, which may be a lesson."""
    pairs = list(zip(rows, new, strict=True))
    if spam is not None:
        lessons = [Lesson(f"{to_id}:{uid}", row.mail_id, spam) for row, uid in pairs]
        await teach(transaction, account_id, lessons)
    return [(row.uid, uid) for row, uid in pairs]


async def require_owner(transaction: Transaction, account_id: int, mailbox_id: int) -> str:
    """Whoever names a mailbox by its id must own it: isolation does not hang on callers (I7).

    Gives its special use.
    """
    owner, special_use = await _owner(transaction, mailbox_id)
    if owner != account_id:
        raise MailStoreError("NONEXISTENT", "the mailbox is gone")
    return special_use


async def _owner(transaction: Transaction, mailbox_id: int) -> tuple[int, str]:
    query = select(mailbox.c.account_id, mailbox.c.special_use).where(mailbox.c.id == mailbox_id)
    row = await transaction.one_or_none(query)
    if row is None:
        raise MailStoreError("NONEXISTENT", "the mailbox is gone")
    return row.account_id, row.special_use


async def take_out(
    transaction: Transaction,
    account_id: int,
    mailbox_id: int,
    modseq: int,
    rows: Sequence[Row[Any]],
) -> None:
    """Remove these rows of a mailbox whose new MODSEQ is given; all of it is locked."""
    if not rows:
        return
    uids = [row.uid for row in rows]
    await transaction.execute(
        delete(mailbox_message).where(
            mailbox_message.c.mailbox_id == mailbox_id,
            in_list(mailbox_message.c.uid, uids, transaction.dialect),
        )
    )
    await transaction.insert(
        vanished, [{"mailbox_id": mailbox_id, "uid": uid, "modseq": modseq} for uid in uids]
    )
    octets = sum(row.size for row in rows)
    unseen = sum(not row.flags & Flag.SEEN for row in rows)
    await change_counters(transaction, [(mailbox_id, 0, -len(rows), -unseen, -octets)])
    await count_accounts(transaction, [(account_id, -len(rows), -octets)])
