"""Room in an account: asked under its lock, so that no two writers both take the last of it."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.schema import account
from libs.common.mailstore.mailbox import MailStoreError


async def check_room(transaction: Transaction, account_id: int, messages: int, octets: int) -> None:
    """`OVERQUOTA` when the account has no room for so many more messages and octets.

    Exact only in a transaction that has locked the account (I5).
    """
    row = await transaction.one_or_none(select(account).where(account.c.id == account_id))
    if row is None:
        raise MailStoreError("NONEXISTENT", "the account is gone")
    if 0 < row.quota_octets < row.used_octets + octets:
        raise MailStoreError("OVERQUOTA", "the account has no room for this message")
    if 0 < row.quota_messages < row.used_messages + messages:
        raise MailStoreError("OVERQUOTA", "the account has no room for another message")
