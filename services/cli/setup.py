"""`holub setup DOMAIN`: what a new installation needs before its roles start.

Everything is kept that is there already, so it may run at every start.
"""

from __future__ import annotations

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


def set_up(domain: str, names: list[str], tls: Path | None, password: str) -> None:
    """Migrate, make a certificate of our own where there is none, the domain, an account."""
    if password and len(password) < MIN_PASSWORD:
        raise registry.RegistryError("password", f"needs at least {MIN_PASSWORD} characters")
    if tls is not None:
        _, certificate, _ = ensure_certificate(tls, [f"mail.{domain}", domain, *names])
        print(f"certificate: {certificate}")
    made = with_database(lambda database: _records(database, domain, password), migrated=False)
    print(made or f"{FIRST}@{domain} is there already, with the password that it has")


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
