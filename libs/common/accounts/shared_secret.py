"""Secrets that all replicas share: random octets in the database, made by whoever is first."""

from __future__ import annotations

import os

from sqlalchemy import select

from libs.common.db import Database
from libs.common.db.schema import secret
from libs.common.runtime.sealer import Sealer

_SEALING = "sealing"


async def shared_secret(database: Database, name: str) -> bytes:
    """The secret of this name."""
    query = select(secret.c.value).where(secret.c.name == name)
    async with database.reading() as transaction:
        known = await transaction.scalar(query)
    if known:
        return bytes(known)
    async with database.transaction() as transaction:
        new = {"name": name, "value": os.urandom(32)}
        await transaction.insert(secret, [new], ignore=True)
        return bytes(await transaction.scalar(query))


async def open_sealer(database: Database, secrets: str) -> Sealer:
    """The platform's sealer: HOLUB_SECRET, and behind it the secret of the database.

    So what was sealed before there was a HOLUB_SECRET still opens.
    """
    given = [item.strip().encode() for item in secrets.split(",") if item.strip()]
    return Sealer([*given, await shared_secret(database, _SEALING)])
