"""Keys of the management API: shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
import time

from sqlalchemy import or_, select

from libs.common.db import Database
from libs.common.db.schema import api_key


def _digest(key: str) -> str:
    # The key has 256 random bits, so a plain hash cannot be guessed back.
    return hashlib.sha256(key.encode()).hexdigest()


async def create_key(database: Database, name: str) -> str:
    """A new key for everything; store it well, it cannot be shown again."""
    key = f"holub_{secrets.token_urlsafe(32)}"
    row = {"name": name, "key_hash": _digest(key), "created_at": time.time()}
    async with database.transaction() as transaction:
        await transaction.insert(api_key, [row])
    return key


async def key_name(database: Database, key: str) -> str | None:
    """The name of a valid key, or None when it is unknown, expired or revoked."""
    now = time.time()
    query = select(api_key.c.name).where(
        api_key.c.key_hash == _digest(key),
        api_key.c.revoked_at.is_(None),
        or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now),
    )
    async with database.reading() as transaction:
        name: str | None = await transaction.scalar(query)
        return name
