"""Aliases, within the reach of who asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from libs.common.accounts.account import split_address
from libs.common.accounts.registry import NotFound, RegistryError, check_address
from libs.common.admin import audit, reach
from libs.common.admin.check import Check, accept
from libs.common.admin.page import page
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import alias, domain


def check_targets(targets: Sequence[str]) -> list[str]:
    """Targets with their domain in lower case; they may be anywhere (RFC 5321 §3.9.1)."""
    if not targets:
        raise RegistryError("targets", "an alias needs at least one target address")
    for target in targets:
        if not all(split_address(target)) or len(target) > 320:
            raise RegistryError("targets", f"{target!r} is not an address")
    parts = [split_address(target) for target in targets]
    return sorted({f"{local_part}@{name.lower()}" for local_part, name in parts})


async def list_aliases(
    database: Database,
    who: Principal,
    *,
    search: str = "",
    domain_name: str = "",
    target: str = "",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Aliases by address, with all of their targets."""
    query = select(alias.c.address).where(reach.aliases(who)).distinct()
    if search:
        query = query.where(alias.c.address.contains(search.lower(), autoescape=True))
    if target:
        query = query.where(alias.c.target == target)
    if domain_name:
        named = select(domain.c.id).where(domain.c.name == domain_name.lower())
        query = query.where(alias.c.domain_id.in_(named))
    async with database.reading() as transaction:
        rows, after = await page(transaction, query, [alias.c.address], cursor, limit)
        names = [row["address"] for row in rows]
        return [await find_alias(transaction, who, name) for name in names], after


async def find_alias(transaction: Transaction, who: Principal, address: str) -> dict[str, Any]:
    """One alias within reach; `NotFound` for any other."""
    mine = reach.aliases(who) & (alias.c.address == address.lower())
    rows = await transaction.rows(select(alias.c.target).where(mine).order_by(alias.c.target))
    if not rows:
        raise NotFound("address", f"there is no alias {address}")
    return {"address": address.lower(), "targets": [row.target for row in rows]}


async def get_alias(database: Database, who: Principal, address: str) -> dict[str, Any]:
    """The same, in a transaction of its own."""
    async with database.reading() as transaction:
        return await find_alias(transaction, who, address)


async def put_alias(
    database: Database,
    who: Principal,
    address: str,
    targets: Sequence[str],
    *,
    add: bool = False,
    check: Check = accept,
) -> dict[str, Any]:
    """Let an address of ours stand for these targets (`add`: for these too)."""
    address = check_address(address)
    wanted = check_targets(targets)
    name = split_address(address)[1]
    async with database.transaction() as transaction:
        query = select(domain.c.id, domain.c.tenant_id).where(reach.domains(who))
        row = await transaction.one_or_none(query.where(domain.c.name == name))
        if row is None:
            raise NotFound("address", f"there is no domain {name}; create it first")
        if not add:
            check(await find_alias(transaction, who, address))
            await transaction.execute(delete(alias).where(alias.c.address == address))
        fresh = [
            {
                "tenant_id": row.tenant_id,
                "domain_id": row.id,
                "address": address,
                "target": target,
                "created_at": time.time(),
            }
            for target in wanted
        ]
        await transaction.insert(alias, fresh, ignore=True)
        tenant = int(row.tenant_id)
        await audit.note(transaction, who, "alias.put", address, targets=wanted, tenant_id=tenant)
        return await find_alias(transaction, who, address)


async def delete_alias(
    database: Database, who: Principal, address: str, check: Check = accept
) -> None:
    """Remove an alias with all of its targets."""
    async with database.transaction() as transaction:
        check(await find_alias(transaction, who, address))
        await transaction.execute(delete(alias).where(alias.c.address == address.lower()))
        await audit.note(transaction, who, "alias.delete", address.lower())
