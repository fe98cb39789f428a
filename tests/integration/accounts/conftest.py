"""An authenticator on each dialect, with one account."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from libs.common.accounts import Account
from libs.common.accounts.authenticator import Attempt, Authenticator
from libs.common.accounts.credential import hash_password
from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.accounts.settings import AuthenticationSettings
from libs.common.db import Database
from libs.common.db.schema import account
from libs.common.limits import Limits

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD)


@dataclass(slots=True)
class Room:
    """A database of its own, in which tests make replicas."""

    database: Database
    alice: str
    make: Callable[..., Authenticator]
    limits: list[Limits]

    async def stored(self) -> str:
        """Alice's password hash."""
        async with self.database.reading() as transaction:
            query = select(account.c.password_hash).where(account.c.address == self.alice)
            return str(await transaction.scalar(query))


@pytest.fixture
async def room(database: Database) -> Room:
    # PostgreSQL is one for the whole session, so each test has a domain of its own.
    domain = f"d{time.time_ns()}.test"
    await create_domain(database, domain)
    await create_accounts(database, [f"alice@{domain}"], HASH)
    limits: list[Limits] = []

    def make(**settings: Any) -> Authenticator:
        limits.append(Limits(database))
        values = {"failure_seconds": 0.0, **settings}
        return Authenticator(database, limits[-1], AuthenticationSettings(**values))

    return Room(database, f"alice@{domain}", make, limits)


def from_ip(ip: str, role: str = "imap") -> Attempt:
    return Attempt(role, ip)


__all__ = ["Account", "Room", "from_ip"]
