"""Annotations of mailboxes and of accounts: METADATA (RFC 5464)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, func, select

from libs.common.db import Transaction
from libs.common.db.schema import annotation
from libs.common.mailstore.append import lock_accounts
from libs.common.mailstore.mailbox import MailStoreError

MAX_VALUE = 16 * 1024
"""Octets of one value."""
MAX_ENTRIES = 100
"""Entries of one mailbox, or of an account without its mailboxes."""
ACCOUNT = 0
"""Stands for the account itself where a mailbox would be named."""


async def read_annotations(
    transaction: Transaction, account_id: int, mailbox_id: int
) -> dict[str, bytes]:
    """All entries of a mailbox, by name."""
    query = select(annotation.c.entry, annotation.c.value).where(
        annotation.c.account_id == account_id, annotation.c.mailbox_id == mailbox_id
    )
    rows = await transaction.rows(query.order_by(annotation.c.entry))
    return {row.entry: bytes(row.value) for row in rows}


async def annotate(
    transaction: Transaction, account_id: int, mailbox_id: int, values: Mapping[str, bytes | None]
) -> None:
    """Set entries, or remove those whose value is None; all of them or none."""
    await lock_accounts(transaction, [account_id])
    of = (annotation.c.account_id == account_id, annotation.c.mailbox_id == mailbox_id)
    for value in values.values():
        if value is not None and len(value) > MAX_VALUE:
            raise MailStoreError(f"METADATA MAXSIZE {MAX_VALUE}", "the value is too large")
    await transaction.execute(delete(annotation).where(*of, annotation.c.entry.in_(list(values))))
    rows = [
        {"account_id": account_id, "mailbox_id": mailbox_id, "entry": name, "value": value}
        for name, value in values.items()
        if value is not None
    ]
    await transaction.insert(annotation, rows)
    count = await transaction.scalar(select(func.count()).select_from(annotation).where(*of))
    if count > MAX_ENTRIES:
        raise MailStoreError("METADATA TOOMANY", f"there are at most {MAX_ENTRIES} entries")
