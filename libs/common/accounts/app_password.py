"""App passwords: one for each device, limited to what it needs, and revoked without the others."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.db import Transaction
from libs.common.db.schema import app_password

SCOPES = ("smtp", "imap", "pop3", "sieve")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 5, 5
_NEVER = 1e11
MOST = 50
"""App passwords of one account."""


def digest_of(given: str) -> str:
    """The hash by which one is found; people may type it without dashes, or with spaces."""
    bare = given.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(f"app-password\0{bare}".encode()).hexdigest()


def new_secret() -> str:
    """Five groups of five letters and digits, none of which look alike: over 120 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


async def add(
    transaction: Transaction,
    account_id: int,
    name: str,
    scopes: Iterable[str] = SCOPES,
    *,
    expires_at: float | None = None,
) -> dict[str, Any]:
    """A new app password, its secret under `secret`; it cannot be shown again."""
    wanted = tuple(dict.fromkeys(scopes))
    if not name.strip() or len(name) > 100:
        raise RegistryError("name", "name the device, in 1 to 100 characters")
    if not wanted or any(scope not in SCOPES for scope in wanted):
        raise RegistryError("scopes", f"choose from {', '.join(SCOPES)}")
    if expires_at is not None and not time.time() < expires_at < _NEVER:
        raise RegistryError("expires_at", "is a time in the future, in seconds since the epoch")
    known = await of_account(transaction, account_id)
    if name in {row["name"] for row in known}:
        raise AlreadyExists("name", f"{name!r} exists already")
    if len(known) >= MOST:
        raise RegistryError("name", f"an account has at most {MOST} app passwords; remove some")
    secret = new_secret()
    row = {
        "account_id": account_id,
        "name": name,
        "secret_hash": digest_of(secret),
        "scopes": " ".join(wanted),
        "created_at": time.time(),
        "expires_at": expires_at,
    }
    await transaction.insert(app_password, [row])
    made = {"name": name, "scopes": list(wanted), "created_at": row["created_at"]}
    return {**made, "last_used_at": None, "expires_at": expires_at, "secret": secret}


async def of_account(transaction: Transaction, account_id: int) -> list[dict[str, Any]]:
    """Those of an account by name, without their secrets."""
    rows = await transaction.rows(
        select(app_password)
        .where(app_password.c.account_id == account_id)
        .order_by(app_password.c.name)
    )
    return [
        {
            "name": row.name,
            "scopes": row.scopes.split(),
            "created_at": row.created_at,
            "last_used_at": row.last_used_at,
            "expires_at": row.expires_at,
        }
        for row in rows
    ]


async def remove(transaction: Transaction, account_id: int, name: str) -> None:
    """The device cannot log in any more."""
    mine = (app_password.c.account_id == account_id) & (app_password.c.name == name)
    if not await transaction.execute(delete(app_password).where(mine)):
        raise NotFound("name", f"there is no app password {name!r}")
