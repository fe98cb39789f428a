"""Messages that are brought in from elsewhere: each of them once, whenever and however often.

What names a message where it comes from is its *key*.  The key is noted in the transaction that
appends the message, so that a run that is broken off anywhere can simply be begun again; and it
stays when the message is moved or expunged, so that a second run does not bring that back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from libs.common.blobstore.protocol import Spool
from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import imported, message
from libs.common.mailstore.append import Addition, add, lock_accounts
from libs.common.mailstore.quota import check_room


@dataclass(frozen=True, slots=True)
class AppendItem:
    """A message that a client appends."""

    content: bytes | Spool
    flags: int
    keywords: str
    internaldate: float | None
    """Seconds since the epoch; None: now."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A message from elsewhere."""

    item: AppendItem
    key: str
    uid: int = 0
    """It keeps this UID if it can; 0: any."""


async def known_imports(transaction: Transaction, account_id: int, keys: Iterable[str]) -> set[str]:
    """Those of the keys that the account has had."""
    query = select(imported.c.key).where(
        imported.c.account_id == account_id, in_list(imported.c.key, keys, transaction.dialect)
    )
    return {row.key for row in await transaction.rows(query)}


async def bring_in(
    transaction: Transaction,
    account_id: int,
    mailbox_id: int,
    brought: Sequence[Brought],
    rows: Sequence[dict[str, Any]],
    additions: Sequence[Addition],
) -> int:
    """Add those whose keys are new to a mailbox, or none of them; how many.

    `OVERQUOTA` when the account has no room.  `rows` are their `message` rows.
    """
    await lock_accounts(transaction, [account_id])
    known = await known_imports(transaction, account_id, [one.key for one in brought])
    new: dict[str, tuple[dict[str, Any], Addition]] = {}
    for one, row, addition in zip(brought, rows, additions, strict=True):
        if one.key not in known:
            new.setdefault(one.key, (row, replace(addition, uid=one.uid)))
    if not new:
        return 0
    added = [addition for _, addition in new.values()]
    await check_room(transaction, account_id, len(new), sum(a.size for a in added))
    await transaction.insert(imported, [{"account_id": account_id, "key": key} for key in new])
    await transaction.insert(message, [row for row, _ in new.values()])
    await add(transaction, added)
    return len(new)
