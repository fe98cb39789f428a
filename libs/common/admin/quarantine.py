"""The quarantine: what is held, for whom, and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from libs.common.accounts.registry import NotFound
from libs.common.admin import reach
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import message, quarantine

_SHOWN = (
    quarantine.c.mail_id,
    quarantine.c.n,
    quarantine.c.recipient,
    quarantine.c.reason,
    quarantine.c.state,
    quarantine.c.created_at,
    message.c.reverse_path.label("sender"),
    message.c.subject,
    message.c.size,
    message.c.preview,
)
_WITH_MESSAGE = quarantine.outerjoin(message, message.c.mail_id == quarantine.c.mail_id)


async def list_quarantine(
    database: Database,
    who: Principal,
    *,
    recipient: str = "",
    state: str = "held",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first."""
    query = select(*_SHOWN).select_from(_WITH_MESSAGE)
    query = query.where(quarantine.c.state == state) if state else query
    query = query.where(quarantine.c.recipient == recipient) if recipient else query
    keys = [quarantine.c.mail_id, quarantine.c.n]
    async with database.reading() as transaction:
        mine = await reach.recipients(transaction, who, quarantine.c.recipient)
        return await page(transaction, query.where(mine), keys, cursor, limit, descending=True)


async def find_held(
    transaction: Transaction, who: Principal, mail_id: str, n: int
) -> dict[str, Any]:
    """One entry within reach; `NotFound` for any other."""
    mine = await reach.recipients(transaction, who, quarantine.c.recipient)
    query = (
        select(*_SHOWN)
        .select_from(_WITH_MESSAGE)
        .where(mine, quarantine.c.mail_id == mail_id, quarantine.c.n == n)
    )
    row = await transaction.one_or_none(query)
    if row is None:
        raise NotFound("mail_id", f"nothing of {mail_id} is held for recipient {n}")
    return plain(row)


async def get_held(database: Database, who: Principal, mail_id: str, n: int) -> dict[str, Any]:
    """The same, in a transaction of its own."""
    async with database.reading() as transaction:
        return await find_held(transaction, who, mail_id, n)
