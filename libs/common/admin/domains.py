"""Domains, within the reach of who asks."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from libs.common.accounts.dkim_keys import ALGORITHMS, add_keys
from libs.common.accounts.registry import (
    AlreadyExists,
    NotFound,
    RegistryError,
    check_domain,
    ensure_tenant,
)
from libs.common.admin import audit, reach
from libs.common.admin.check import Check, accept
from libs.common.admin.dkim import make_keys
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import domain, tenant
from libs.common.runtime.sealer import Sealer

_SHOWN = (
    domain.c.name,
    tenant.c.name.label("tenant"),
    domain.c.enabled,
    domain.c.catch_all,
    domain.c.created_at,
    domain.c.screening,
)


def _query(who: Principal) -> Any:
    return select(*_SHOWN).join(tenant).where(reach.domains(who))


async def list_domains(
    database: Database,
    who: Principal,
    *,
    search: str = "",
    tenant_name: str = "",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Domains by name."""
    query = _query(who)
    if search:
        query = query.where(domain.c.name.contains(search.lower(), autoescape=True))
    if tenant_name:
        query = query.where(tenant.c.name == tenant_name)
    async with database.reading() as transaction:
        return await page(transaction, query, [domain.c.name], cursor, limit)


async def find_domain(transaction: Transaction, who: Principal, name: str) -> dict[str, Any]:
    """One domain within reach; `NotFound` for any other."""
    row = await transaction.one_or_none(_query(who).where(domain.c.name == name.lower()))
    if row is None:
        raise NotFound("domain", f"there is no domain {name}")
    return plain(row)


async def get_domain(database: Database, who: Principal, name: str) -> dict[str, Any]:
    """The same, in a transaction of its own."""
    async with database.reading() as transaction:
        return await find_domain(transaction, who, name)


async def create_domain(
    database: Database,
    who: Principal,
    name: str,
    *,
    tenant_name: str = "",
    catch_all: str = "",
    sealer: Sealer | None = None,
) -> dict[str, Any]:
    """Take mail for a domain; the tenant is one's own, or (platform) the one named.

    With a sealer it has DKIM keys from the start; else relay makes them when it finds none.
    """
    name = check_domain(name)
    keys = await make_keys(name, ALGORITHMS) if sealer else []
    async with database.transaction() as transaction:
        number = await tenant_id_of(transaction, who, tenant_name)
        row = {
            "tenant_id": number,
            "name": name,
            "catch_all": catch_all,
            "created_at": time.time(),
        }
        if not await transaction.insert_new(domain, [row], ("name",)):
            raise AlreadyExists("domain", f"{name} exists already")
        if sealer:
            new = await transaction.scalar(select(domain.c.id).where(domain.c.name == name))
            await add_keys(transaction, int(new), name, keys, sealer)
        await audit.note(transaction, who, "domain.create", name, tenant_id=number)
        return await find_domain(transaction, who, name)


async def tenant_id_of(transaction: Transaction, who: Principal, name: str) -> int:
    """One's own tenant, or (platform) the one named; `NotFound` for any other."""
    if who.tenant_id is None:
        if not name or name == "default":
            return await ensure_tenant(transaction)
        query = select(tenant.c.id).where(tenant.c.name == name)
    else:
        query = select(tenant.c.id).where(tenant.c.id == who.tenant_id)
        query = query.where(tenant.c.name == name) if name else query
    number = await transaction.scalar(query)
    if number is None:
        raise NotFound("tenant", f"there is no tenant {name}; create it first")
    return int(number)


async def change_domain(
    database: Database, who: Principal, name: str, check: Check = accept, **values: Any
) -> dict[str, Any]:
    """Change whether it is enabled, its catch-all, and what it wants of the checks of strangers."""
    async with database.transaction() as transaction:
        found = await find_domain(transaction, who, name)
        check(found)
        if values:
            statement = update(domain).where(domain.c.name == found["name"])
            await transaction.execute(statement.values(**values))
            await audit.note(transaction, who, "domain.change", found["name"], **values)
        return await find_domain(transaction, who, name)


async def delete_domain(
    database: Database, who: Principal, name: str, check: Check = accept
) -> None:
    """Take no mail for it any more; it must be empty."""
    async with database.transaction() as transaction:
        found = await find_domain(transaction, who, name)
        check(found)
        try:
            await transaction.execute(delete(domain).where(domain.c.name == found["name"]))
        except IntegrityError as error:
            raise RegistryError(
                "domain", f"{name} still has accounts or aliases; delete these first"
            ) from error
        await audit.note(transaction, who, "domain.delete", found["name"])
