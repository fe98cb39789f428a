"""`holub setup DOMAIN`: what a new installation needs before its roles start.

Everything is kept that is there already, so it may run at every start.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from sqlalchemy import select

from libs.common.accounts import registry
from libs.common.accounts.credential import hash_password
from libs.common.db import Database
from libs.common.db.migrate import migrate
from libs.common.db.schema import account
from services.cli.administer import with_database
from services.cli.certificates import ensure_certificate

MIN_PASSWORD = 8
FIRST = "postmaster"
"""The local-part of the first account, which every domain must have (RFC 5321 §4.5.1)."""
CANARY = "canary"
"""The local-part of the account that `holub canary` uses."""


def set_up(
    domain: str, names: list[str], tls: Path | None, password: str, canary: Path | None = None
) -> None:
    """Migrate, make a certificate of our own where there is none, the domain, accounts."""
    if password and len(password) < MIN_PASSWORD:
        raise registry.RegistryError("password", f"needs at least {MIN_PASSWORD} characters")
    if tls is not None:
        _, certificate, _ = ensure_certificate(tls, [f"mail.{domain}", domain, *names])
        print(f"certificate: {certificate}")
    made = with_database(lambda database: _records(database, domain, password), migrated=False)
    print(made or f"{FIRST}@{domain} is there already, with the password that it has")
    if canary is not None:
        address = f"{CANARY}@{domain}"
        with_database(lambda database: _canary(database, address, canary))
        print(f"account of the canary: {address}, its password is in {canary}")


async def _records(database: Database, domain: str, password: str) -> str:
    revision = await migrate(database)
    print(f"the database is at revision {revision}")
    await registry.create_domain(database, domain, exists_ok=True)
    address = f"{FIRST}@{domain}"
    async with database.reading() as transaction:
        known = await transaction.one_or_none(
            select(account.c.id).where(account.c.address == address)
        )
    if known:
        return ""
    chosen = password or secrets.token_urlsafe(12)
    await registry.create_accounts(database, [address], hash_password(chosen))
    return f"account: {address}" + ("" if password else f"  password: {chosen}")


async def _canary(database: Database, address: str, file: Path) -> None:
    """An account whose password only the file knows; a lost file gets another password."""
    async with database.reading() as transaction:
        query = select(account.c.id).where(account.c.address == address)
        known = await transaction.one_or_none(query)
    if known and await asyncio.to_thread(file.exists):
        return
    password = secrets.token_urlsafe(24)
    await asyncio.to_thread(_keep, file, password)
    if known:
        await registry.change_account(database, address, password_hash=hash_password(password))
    else:
        await registry.create_accounts(database, [address], hash_password(password))


def _keep(file: Path, password: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(f"{password}\n")
