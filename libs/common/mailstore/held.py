"""Delivered mail that is taken out of mailboxes and held, and put back where it was.

The delivery log still says "delivered", so no job that comes again can bring it back by itself.
Every function works in the caller's transaction, in which the accounts are locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import held_copy, mailbox, mailbox_message
from libs.common.mailstore import folders
from libs.common.mailstore.append import Addition, add, lock_accounts, lock_mailboxes
from libs.common.mailstore.change import take_out

_COPIED = ("mail_id", "flags", "keywords", "internaldate", "size", "prefix")


async def copies(transaction: Transaction, mail_ids: Sequence[str]) -> Sequence[Any]:
    """The `mailbox_message` rows of these messages, with account_id, mailbox name and use."""
    query = select(
        mailbox_message, mailbox.c.account_id, mailbox.c.name, mailbox.c.special_use
    ).join_from(mailbox_message, mailbox, mailbox.c.id == mailbox_message.c.mailbox_id)
    query = query.where(in_list(mailbox_message.c.mail_id, mail_ids, transaction.dialect))
    order = (mailbox_message.c.mail_id, mailbox_message.c.mailbox_id, mailbox_message.c.uid)
    return await transaction.rows(query.order_by(*order))


async def hold(transaction: Transaction, n: int, rows: Sequence[Any]) -> None:
    """Take these copies (`copies`) out of their mailboxes, for the recipient with ordinal n."""
    places = [{"n": n, "account_id": row.account_id, "mailbox": row.name} for row in rows]
    kept = [{name: getattr(row, name) for name in _COPIED} for row in rows]
    both = [{**place, **rest} for place, rest in zip(places, kept, strict=True)]
    await transaction.insert(held_copy, both)
    state = await lock_mailboxes(transaction, [row.mailbox_id for row in rows])
    for mailbox_id in sorted({row.mailbox_id for row in rows}):
        here = [row for row in rows if row.mailbox_id == mailbox_id]
        modseq = state[mailbox_id][1] + 1
        await take_out(transaction, here[0].account_id, mailbox_id, modseq, here)


async def put_back(transaction: Transaction, mail_id: str, n: int) -> dict[str, int]:
    """Put back what is held for a recipient, with its flags; `MAILBOX UID n` -> mailbox id.

    A mailbox that is gone is made again.  It was accepted long ago, so no quota refuses it.
    """
    mine = (held_copy.c.mail_id == mail_id) & (held_copy.c.n == n)
    query = select(held_copy).where(mine).order_by(held_copy.c.id)
    owners = [row.account_id for row in await transaction.rows(query)]
    await lock_accounts(transaction, owners)
    rows = await transaction.rows(query)
    additions = [
        Addition.back(
            row.account_id, await folders.made(transaction, row.account_id, row.mailbox), row
        )
        for row in rows
    ]
    uids = await add(transaction, additions) if additions else []
    await transaction.execute(delete(held_copy).where(mine))
    return {
        f"{row.mailbox} UID {uid}": item.mailbox_id
        for row, item, uid in zip(rows, additions, uids, strict=True)
    }


async def throw_away(transaction: Transaction, mail_id: str, n: int) -> None:
    """Forget what is held for a recipient."""
    mine = (held_copy.c.mail_id == mail_id) & (held_copy.c.n == n)
    await transaction.execute(delete(held_copy).where(mine))
