"""Undelete: what was expunged from an account, within the reach of who asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from libs.common.accounts.registry import RegistryError
from libs.common.admin import audit
from libs.common.admin.accounts import account_of
from libs.common.admin.page import page
from libs.common.admin.principal import Principal
from libs.common.db import Database
from libs.common.db.schema import message, recoverable
from libs.common.mailstore import MailStore, MailStoreError
from libs.common.mailstore.recover import restore

MOST = 1000
"""Messages that one request puts back."""
_SHOWN = (
    recoverable.c.id,
    recoverable.c.mailbox,
    recoverable.c.mail_id,
    recoverable.c.size,
    recoverable.c.expunged_at,
    recoverable.c.expires_at,
    message.c.subject,
)


async def list_recoverable(
    database: Database,
    who: Principal,
    address: str,
    *,
    mailbox: str = "",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """What can be had back, what went last first."""
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        query = (
            select(*_SHOWN)
            .join_from(recoverable, message, message.c.mail_id == recoverable.c.mail_id)
            .where(recoverable.c.account_id == row.id, recoverable.c.expires_at > time.time())
        )
        if mailbox:
            query = query.where(recoverable.c.mailbox == mailbox)
        return await page(transaction, query, [recoverable.c.id], cursor, limit, descending=True)


async def put_back(
    database: Database,
    store: MailStore,
    who: Principal,
    address: str,
    *,
    ids: Sequence[int] = (),
    mailbox: str = "",
    hours: float = 0,
) -> dict[str, Any]:
    """Restore what is named, at most a thousand of it: by ids, of a mailbox, of the last hours."""
    if not (ids or mailbox or hours):
        raise RegistryError("ids", "name ids, a mailbox, or hours")
    query = select(recoverable.c.id).order_by(recoverable.c.id.desc()).limit(MOST)
    if mailbox:
        query = query.where(recoverable.c.mailbox == mailbox)
    if hours:
        query = query.where(recoverable.c.expunged_at >= time.time() - hours * 3600)
    if ids:
        query = query.where(recoverable.c.id.in_(ids))
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        mine = query.where(recoverable.c.account_id == row.id)
        chosen = [found.id for found in await transaction.rows(mine)]
        try:
            done = await restore(transaction, row.id, chosen)
        except MailStoreError as error:
            raise RegistryError("ids", f"{error}; make room, or name fewer") from error
        counts: dict[str, int] = {}
        for _, name, _ in done:
            counts[name] = counts.get(name, 0) + 1
        if done:
            await audit.note(
                transaction,
                who,
                "mailbox.restore",
                row.address,
                tenant_id=row.tenant_id,
                messages=len(done),
            )
    await store.announce(number for number, _, _ in done)
    return {
        "messages": len(done),
        "mailboxes": [{"name": n, "messages": c} for n, c in sorted(counts.items())],
    }
