"""Room in an account: asked under its lock, so that no two writers both take the last of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.schema import account
from libs.common.mailstore.mailbox import MailStoreError


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account uses, and may use (0: as much as it likes)."""

    used_octets: int
    quota_octets: int
    used_messages: int
    quota_messages: int


async def usage(transaction: Transaction, account_id: int) -> Usage:
    """Of one account; `NONEXISTENT` when it is gone."""
    names = ("used_octets", "quota_octets", "used_messages", "quota_messages")
    query = select(*(account.c[name] for name in names)).where(account.c.id == account_id)
    row = await transaction.one_or_none(query)
    if row is None:
        raise MailStoreError("NONEXISTENT", "the account is gone")
    return Usage(*row)


async def check_room(transaction: Transaction, account_id: int, messages: int, octets: int) -> None:
    """`OVERQUOTA` when the account has no room for so many more messages and octets.

    Exact only in a transaction that has locked the account (I5).
    """
    row = await usage(transaction, account_id)
    if 0 < row.quota_octets < row.used_octets + octets:
        raise MailStoreError("OVERQUOTA", "the account has no room for this message")
    if 0 < row.quota_messages < row.used_messages + messages:
        raise MailStoreError("OVERQUOTA", "the account has no room for another message")
