"""SCRAM keys of accounts: kept behind the hash of the password, so that they change together."""

from __future__ import annotations

import hashlib
import hmac
import os

from sqlalchemy import select

from libs.common.accounts.shared_secret import shared_secret
from libs.common.db import Database
from libs.common.db.schema import account, without_scram
from libs.protocols.sasl.prepare import saslprep
from libs.protocols.sasl.scram import ITERATIONS, ScramKeys, decode_keys

SALT_OCTETS = 16
_NOBODY = "scram-nobody"


def encoded_keys(password: str) -> str:
    """The keys of a password for each hash, with spaces between; takes milliseconds.

    What SASLprep prohibits is taken as it is, as clients do that let people type it.
    """
    try:
        prepared = saslprep(password).encode()
    except ValueError:
        prepared = password.encode()
    return " ".join(
        ScramKeys.derive(name, prepared, os.urandom(SALT_OCTETS)).encode(name)
        for name in ITERATIONS
    )


async def find_keys(database: Database, login: str, hash_name: str) -> ScramKeys:
    """The keys of an account; of nobody, but always the same for the same login, without any."""
    async with database.reading() as transaction:
        stored = await transaction.scalar(
            select(account.c.password_hash).where(account.c.address == login)
        )
    # Read always, so that it takes the same time.
    nobody = await shared_secret(database, _NOBODY)
    found = decode_keys((stored or "").partition(" ")[2]).get(hash_name)
    # RFC 5802 §9: a salt that is made up must look like one that is kept.
    salt = hmac.digest(nobody, f"{hash_name}\0{login}".encode(), hashlib.sha256)[:SALT_OCTETS]
    return found or ScramKeys(salt, ITERATIONS[hash_name], os.urandom(32), os.urandom(32))


async def everybody_has_keys(database: Database) -> bool:
    """Could every account that can log in do so by SCRAM?"""
    async with database.reading() as transaction:
        keyless = without_scram(account.c.password_hash)
        query = select(account.c.id).where(keyless, account.c.enabled).limit(1)
        return await transaction.one_or_none(query) is None
