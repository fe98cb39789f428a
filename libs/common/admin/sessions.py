"""Sessions of people at the console: a random token in a cookie, its hash in a row."""

from __future__ import annotations

import time

from sqlalchemy import delete, select

from libs.common.accounts import Account
from libs.common.accounts.account import split_address
from libs.common.admin import audit
from libs.common.admin.keys import digest, new_secret
from libs.common.admin.principal import Principal, Role
from libs.common.db import Database
from libs.common.db.schema import account, session

SECONDS = 12 * 3600.0


async def open_session(database: Database, owner: Account, client: str) -> str:
    """The token for the cookie of somebody who has given the right password."""
    token, now = new_secret("session"), time.time()
    row = {
        "token_hash": digest(token),
        "account_id": owner.id,
        "created_at": now,
        "expires_at": now + SECONDS,
    }
    who = Principal(owner.address, Role.ACCOUNT, owner.tenant_id, client=client)
    async with database.transaction() as transaction:
        await transaction.execute(delete(session).where(session.c.expires_at < now))
        await transaction.insert(session, [row])
        await audit.note(transaction, who, "session.open", owner.address)
    return token


async def close_session(database: Database, token: str) -> None:
    """The token is good for nothing from now on."""
    async with database.transaction() as transaction:
        await transaction.execute(delete(session).where(session.c.token_hash == digest(token)))


async def principal_of_session(database: Database, token: str, client: str) -> Principal | None:
    """Who a cookie stands for; None when it is unknown or over, or the account is disabled."""
    query = (
        select(account, session.c.expires_at)
        .join(session, session.c.account_id == account.c.id)
        .where(session.c.token_hash == digest(token), session.c.expires_at > time.time())
    )
    async with database.reading() as transaction:
        row = await transaction.one_or_none(query)
    if row is None or not row.enabled:
        return None
    role = Role(row.role)
    domains = {split_address(row.address)[1]} if role is Role.DOMAIN else set()
    return Principal(
        row.address,
        role,
        None if role is Role.PLATFORM else row.tenant_id,
        frozenset(domains),
        row.id,
        row.address,
        client=client,
        expires_at=row.expires_at,
    )
