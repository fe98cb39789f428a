"""Administration from the command line, on the same registry as the API's."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import func, select

from libs.common.accounts import registry
from libs.common.accounts.account import split_address
from libs.common.accounts.credential import hash_password
from libs.common.accounts.keys import create_key
from libs.common.db import Database, open_database
from libs.common.db.migrate import current, head, migrate
from libs.common.db.schema import account, deferred, domain, outbox, parked
from libs.common.queue import open_queue
from libs.common.queue.protocol import QUEUES, Queue
from libs.common.runtime.settings import PlatformSettings
from services.__main__ import StartError

T = TypeVar("T")
MIN_PASSWORD = 8


def with_database(work: Callable[[Database], Awaitable[T]], *, migrated: bool = True) -> T:
    """Run one piece of work on the database that the settings name."""

    async def run() -> T:
        settings: PlatformSettings = PlatformSettings.load()
        database = open_database(settings.database_url, pool=2)
        try:
            if migrated and await current(database) != head():
                raise StartError("the database is not at this version's schema; run: holub migrate")
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, title: str) -> None:
    """A table for people, or one JSON document."""
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in rows[0] if rows else ("nothing",):
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def migrate_database() -> str:
    """Apply the migrations; the revision reached."""
    return with_database(migrate, migrated=False)


def new_domain(name: str, tenant: str) -> None:
    """Create a domain."""
    with_database(lambda db: registry.create_domain(db, name, tenant_name=tenant))
    print(f"domain {name} is ours now")


def list_domains(as_json: bool) -> None:
    """Show all domains with how many accounts they have."""

    async def work(database: Database) -> list[dict[str, Any]]:
        query = (
            select(domain.c.name, domain.c.enabled, func.count(account.c.id).label("accounts"))
            .select_from(domain.outerjoin(account, account.c.domain_id == domain.c.id))
            .group_by(domain.c.id)
            .order_by(domain.c.name)
        )
        async with database.reading() as transaction:
            return [dict(row._mapping) for row in await transaction.rows(query)]

    print_rows(with_database(work), as_json, "Domains")


def new_accounts(address: str, count: int, password: str | None, quota: int) -> None:
    """Create an account, or `local-part1`..N with one password, hashed once."""
    made = password is None
    password = password if password is not None else secrets.token_urlsafe(12)
    if len(password) < MIN_PASSWORD:
        raise registry.RegistryError("password", f"needs at least {MIN_PASSWORD} characters")
    local_part, name = split_address(address)
    numbers = range(1, count + 1)
    addresses = [f"{local_part}{i}@{name}" for i in numbers] if count else [address]
    hashed = hash_password(password)
    with_database(lambda db: registry.create_accounts(db, addresses, hashed, quota_octets=quota))
    print(f"created {addresses[0]}" + (f" to {addresses[-1]}" if count > 1 else ""))
    if made:
        print(f"password: {password}")


def list_accounts(as_json: bool) -> None:
    """Show all accounts and their usage."""

    async def work(database: Database) -> list[dict[str, Any]]:
        query = select(
            account.c.address,
            account.c.enabled,
            account.c.used_messages,
            account.c.used_octets,
            account.c.quota_octets,
        ).order_by(account.c.address)
        async with database.reading() as transaction:
            return [dict(row._mapping) for row in await transaction.rows(query)]

    print_rows(with_database(work), as_json, "Accounts")


def set_password(address: str, password: str) -> None:
    """Replace an account's password."""
    if len(password) < MIN_PASSWORD:
        raise registry.RegistryError("password", f"needs at least {MIN_PASSWORD} characters")
    hashed = hash_password(password)
    with_database(lambda db: registry.change_account(db, address, password_hash=hashed))
    print(f"the password of {address} is changed")


def new_alias(address: str, targets: Sequence[str]) -> None:
    """Create an alias."""
    with_database(lambda db: registry.create_alias(db, address, targets))
    print(f"{address} stands for {', '.join(targets)}")


def new_key(name: str) -> str:
    """Create an API key; the key itself, which is stored only as a hash."""
    return with_database(lambda db: create_key(db, name))


def list_queues(as_json: bool) -> None:
    """Show what is due now (queues) and what is due later (rows)."""

    async def work(database: Database) -> list[dict[str, Any]]:
        settings: PlatformSettings = PlatformSettings.load()
        jobs = open_queue(settings.queue_url)
        try:
            return await _queues(jobs) + await _waiting(database)
        finally:
            await jobs.close()

    print_rows(with_database(work), as_json, "Queues")


async def _queues(jobs: Queue) -> list[dict[str, Any]]:
    rows = []
    for name in QUEUES:
        depth = await jobs.depth(name)
        rows.append(
            {"queue": name, "jobs": depth.jobs, "oldest_seconds": round(depth.oldest_seconds, 1)}
        )
    return rows


async def _waiting(database: Database) -> list[dict[str, Any]]:
    now = time.time()
    tables = (
        (deferred, deferred.c.received_at),
        (parked, parked.c.parked_at),
        (outbox, outbox.c.created_at),
    )
    rows = []
    async with database.reading() as transaction:
        for table, since in tables:
            row = await transaction.one_or_none(
                select(func.count(), func.min(since)).select_from(table)
            )
            count, oldest = row if row else (0, None)
            age = round(now - oldest, 1) if oldest else 0.0
            rows.append({"queue": f"({table.name})", "jobs": count, "oldest_seconds": age})
    return rows
