"""App passwords: one for each device, limited to what it needs, and revoked without the others."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from libs.common.accounts.account import canonical
from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, app_password

SCOPES = ("smtp", "imap", "pop3", "sieve")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 5, 5
MOST = 50
"""App passwords of one account."""


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One app password; the secret itself is kept nowhere."""

    name: str
    scopes: tuple[str, ...]
    created_at: float
    last_used_at: float | None
    expires_at: float | None


def digest_of(given: str) -> str:
    """The hash by which one is found; people may type it without dashes, or with spaces."""
    bare = given.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(f"app-password\0{bare}".encode()).hexdigest()


def new_secret() -> str:
    """Five groups of five letters and digits, none of which look alike: over 120 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


async def _account_id(transaction: Transaction, address: str) -> int:
    query = select(account.c.id).where(account.c.address == canonical(address))
    number = await transaction.scalar(query)
    if number is None:
        raise NotFound("address", f"there is no account {address}")
    return int(number)


async def create_app_password(
    database: Database,
    address: str,
    name: str,
    scopes: Iterable[str] = SCOPES,
    *,
    expires_at: float | None = None,
) -> str:
    """The secret of a new app password; it cannot be shown again."""
    wanted = tuple(dict.fromkeys(scopes))
    if not name.strip() or len(name) > 100:
        raise RegistryError("name", "name the device, in 1 to 100 characters")
    if not wanted or any(scope not in SCOPES for scope in wanted):
        raise RegistryError("scopes", f"choose from {', '.join(SCOPES)}")
    if expires_at is not None and expires_at <= time.time():
        raise RegistryError("expires_at", "is in the past")
    made = new_secret()
    async with database.transaction() as transaction:
        number = await _account_id(transaction, address)
        known = await transaction.rows(
            select(app_password.c.name).where(app_password.c.account_id == number)
        )
        if name in {row.name for row in known}:
            raise AlreadyExists("name", f"{name!r} exists already")
        if len(known) >= MOST:
            raise RegistryError("name", f"an account has at most {MOST} app passwords; remove some")
        row = {
            "account_id": number,
            "name": name,
            "secret_hash": digest_of(made),
            "scopes": " ".join(wanted),
            "created_at": time.time(),
            "expires_at": expires_at,
        }
        await transaction.insert(app_password, [row])
    return made


async def list_app_passwords(database: Database, address: str) -> list[AppPassword]:
    """Those of an account, by name."""
    async with database.reading() as transaction:
        number = await _account_id(transaction, address)
        rows = await transaction.rows(
            select(app_password)
            .where(app_password.c.account_id == number)
            .order_by(app_password.c.name)
        )
    return [
        AppPassword(r.name, tuple(r.scopes.split()), r.created_at, r.last_used_at, r.expires_at)
        for r in rows
    ]


async def remove_app_password(database: Database, address: str, name: str) -> None:
    """The device cannot log in any more."""
    async with database.transaction() as transaction:
        number = await _account_id(transaction, address)
        gone = await transaction.execute(
            delete(app_password).where(
                app_password.c.account_id == number, app_password.c.name == name
            )
        )
        if not gone:
            raise NotFound("name", f"{address} has no app password {name!r}")
