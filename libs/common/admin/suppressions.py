"""Recipients to whom a tenant sends nothing for a while (services.relay.suppression)."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, delete, select, true

from libs.common.accounts.registry import AlreadyExists, NotFound, check_address
from libs.common.admin import audit
from libs.common.admin.domains import tenant_id_of
from libs.common.admin.page import page
from libs.common.admin.principal import Principal
from libs.common.db import Database
from libs.common.db.schema import suppression, tenant

MANUAL = "manual"
_SHOWN = (
    suppression.c.address,
    tenant.c.name.label("tenant"),
    suppression.c.reason,
    suppression.c.detail,
    suppression.c.bounces,
    suppression.c.last_at,
    suppression.c.expires_at,
)


def _mine(who: Principal) -> ColumnElement[bool]:
    return true() if who.everywhere else suppression.c.tenant_id == who.tenant_id


async def list_suppressions(
    database: Database, who: Principal, *, search: str = "", cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """The entries in force or on their way there, by address."""
    query = select(*_SHOWN).join(tenant, tenant.c.id == suppression.c.tenant_id)
    query = query.where(_mine(who), suppression.c.expires_at > time.time())
    if search:
        query = query.where(suppression.c.address.contains(search.lower(), autoescape=True))
    async with database.reading() as transaction:
        return await page(transaction, query, [suppression.c.address, tenant.c.name], cursor, limit)


async def add_suppression(
    database: Database,
    who: Principal,
    address: str,
    *,
    days: float,
    detail: str = "",
    tenant_name: str = "",
) -> None:
    """Send nothing to an address for so many days; what relay counted is replaced."""
    address = check_address(address)
    now = time.time()
    async with database.transaction() as transaction:
        number = await tenant_id_of(transaction, who, tenant_name)
        this = (suppression.c.tenant_id == number) & (suppression.c.address == address)
        await transaction.execute(delete(suppression).where(this, suppression.c.reason != MANUAL))
        row = {
            "tenant_id": number,
            "address": address,
            "reason": MANUAL,
            "detail": detail,
            "last_at": now,
            "expires_at": now + days * 86400,
        }
        if not await transaction.insert_new(suppression, [row], ("tenant_id", "address")):
            raise AlreadyExists("address", f"{address} is on the list already; remove it first")
        await audit.note(
            transaction, who, "suppression.add", address, tenant_id=number, why=detail, days=days
        )


async def remove_suppression(database: Database, who: Principal, address: str) -> None:
    """Send to an address again."""
    async with database.transaction() as transaction:
        gone = delete(suppression).where(suppression.c.address == address.lower(), _mine(who))
        if not await transaction.execute(gone):
            raise NotFound("address", f"{address} is not on the list")
        await audit.note(transaction, who, "suppression.remove", address)
