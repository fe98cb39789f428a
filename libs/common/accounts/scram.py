"""SCRAM keys of accounts: made when a password is heard, found by address."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from sqlalchemy import and_, select

from libs.common.db import Database
from libs.common.db.schema import account, scram_key, secret
from libs.protocols.sasl.prepare import saslprep
from libs.protocols.sasl.scram import ITERATIONS, ScramKeys

SALT_OCTETS = 16
_NOBODY = "scram-nobody"


def is_possible(password: str) -> bool:
    """Can SCRAM have this password (RFC 4013 §2.3)?"""
    try:
        saslprep(password)
    except ValueError:
        return False
    return True


def key_rows(account_id: int, password: str, password_hash: str) -> list[dict[str, Any]]:
    """Rows for both hashes; none for a password that SCRAM cannot have."""
    if not is_possible(password):
        return []
    prepared = saslprep(password).encode()
    rows = []
    for name in ITERATIONS:
        keys = ScramKeys.derive(name, prepared, os.urandom(SALT_OCTETS))
        rows.append(
            {
                "account_id": account_id,
                "hash": name,
                "password_hash": password_hash,
                "salt": keys.salt,
                "iterations": keys.iterations,
                "stored_key": keys.stored_key,
                "server_key": keys.server_key,
            }
        )
    return rows


async def find_keys(database: Database, login: str, hash_name: str) -> ScramKeys:
    """The keys of an account; of nobody, but always the same for the same login, without any."""
    query = (
        select(
            scram_key.c.salt, scram_key.c.iterations, scram_key.c.stored_key, scram_key.c.server_key
        )
        .join(account, and_(account.c.id == scram_key.c.account_id))
        .where(
            account.c.address == login,
            scram_key.c.hash == hash_name,
            scram_key.c.password_hash == account.c.password_hash,
        )
    )
    async with database.reading() as transaction:
        row = await transaction.one_or_none(query)
        # Read always, so that it takes the same time.
        known = await transaction.scalar(select(secret.c.value).where(secret.c.name == _NOBODY))
    nobody = bytes(known) if known else await _make_secret(database)
    if row is not None:
        return ScramKeys(bytes(row[0]), row[1], bytes(row[2]), bytes(row[3]))
    # RFC 5802 §9: a salt that is made up must look like one that is kept.
    salt = hmac.digest(nobody, f"{hash_name}\0{login}".encode(), hashlib.sha256)[:SALT_OCTETS]
    return ScramKeys(salt, ITERATIONS[hash_name], os.urandom(32), os.urandom(32))


async def _make_secret(database: Database) -> bytes:
    async with database.transaction() as transaction:
        new = {"name": _NOBODY, "value": os.urandom(32)}
        await transaction.insert(secret, [new], ignore=True)
        found = await transaction.scalar(select(secret.c.value).where(secret.c.name == _NOBODY))
    return bytes(found)
