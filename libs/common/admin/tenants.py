"""Tenants: customers that share the platform and see nothing of each other."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import delete, func, select, true, update
from sqlalchemy.exc import IntegrityError

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.admin import audit
from libs.common.admin.check import Check, accept
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, domain, tenant

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SHOWN = (
    tenant.c.name,
    tenant.c.messages_per_hour,
    tenant.c.recipients_per_day,
    tenant.c.created_at,
    select(func.count())
    .select_from(domain)
    .where(domain.c.tenant_id == tenant.c.id)
    .scalar_subquery()
    .label("domains"),
    select(func.count())
    .select_from(account)
    .where(account.c.tenant_id == tenant.c.id)
    .scalar_subquery()
    .label("accounts"),
)


async def list_tenants(
    database: Database, who: Principal, *, cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """Tenants by name."""
    mine = true() if who.everywhere else tenant.c.id == who.tenant_id
    async with database.reading() as transaction:
        return await page(transaction, select(*_SHOWN).where(mine), [tenant.c.name], cursor, limit)


async def _one(transaction: Transaction, who: Principal, name: str) -> dict[str, Any]:
    mine = true() if who.everywhere else tenant.c.id == who.tenant_id
    row = await transaction.one_or_none(select(*_SHOWN).where(mine, tenant.c.name == name))
    if row is None:
        raise NotFound("tenant", f"there is no tenant {name}")
    return plain(row)


async def get_tenant(database: Database, who: Principal, name: str) -> dict[str, Any]:
    """One tenant."""
    async with database.reading() as transaction:
        return await _one(transaction, who, name)


async def create_tenant(database: Database, who: Principal, name: str) -> dict[str, Any]:
    """A new tenant."""
    if not _NAME.fullmatch(name):
        raise RegistryError("name", "has 1 to 63 lower-case letters, digits and inner hyphens")
    async with database.transaction() as transaction:
        row = {"name": name, "created_at": time.time()}
        if not await transaction.insert_new(tenant, [row], ("name",)):
            raise AlreadyExists("name", f"{name} exists already")
        await audit.note(transaction, who, "tenant.create", f"tenant:{name}")
        return await _one(transaction, who, name)


async def change_tenant(
    database: Database, who: Principal, name: str, check: Check = accept, **values: int
) -> dict[str, Any]:
    """Change how much the accounts of a tenant together may send; 0: no limit."""
    async with database.transaction() as transaction:
        check(await _one(transaction, who, name))
        if values:
            await transaction.execute(update(tenant).where(tenant.c.name == name).values(**values))
            await audit.note(transaction, who, "tenant.change", f"tenant:{name}", **values)
        return await _one(transaction, who, name)


async def delete_tenant(
    database: Database, who: Principal, name: str, check: Check = accept
) -> None:
    """Remove a tenant that has nothing any more."""
    async with database.transaction() as transaction:
        check(await _one(transaction, who, name))
        try:
            await transaction.execute(delete(tenant).where(tenant.c.name == name))
        except IntegrityError as error:
            raise RegistryError(
                "tenant", f"{name} still has domains or keys; delete these first"
            ) from error
        await audit.note(transaction, who, "tenant.delete", f"tenant:{name}")
