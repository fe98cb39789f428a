"""Send-as grants: addresses that an account may send as besides its own, within reach."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, select

from libs.common.accounts.account import split_address
from libs.common.accounts.registry import NotFound, check_address, check_domain
from libs.common.admin import audit, reach
from libs.common.admin.accounts import account_of, may_change
from libs.common.admin.principal import Principal
from libs.common.db import Database
from libs.common.db.schema import domain, send_as

EVERY = "*"
"""`*@example.org`: every address of the domain."""


async def list_grants(database: Database, who: Principal, address: str) -> list[dict[str, Any]]:
    """The grants of an account."""
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        query = select(send_as.c.address, send_as.c.created_at)
        query = query.where(send_as.c.account_id == row.id).order_by(send_as.c.address)
        found = await transaction.rows(query)
        return [{"address": one.address, "created_at": one.created_at} for one in found]


async def add_grant(
    database: Database, who: Principal, address: str, granted: str
) -> dict[str, Any]:
    """Let an account send as an address of a domain within reach; again is no harm."""
    granted = _checked(granted)
    name = split_address(granted)[1]
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        may_change(who, row, {})
        # In the tenant of the account: nobody may speak for somebody else's domain.
        ours = select(domain.c.id).where(reach.domains(who), domain.c.name == name)
        ours = ours.where(domain.c.tenant_id == row.tenant_id)
        if await transaction.one_or_none(ours) is None:
            raise NotFound("granted", f"there is no domain {name} of this tenant")
        new = {"account_id": row.id, "address": granted, "created_at": time.time()}
        await transaction.insert(send_as, [new], ignore=True)
        told = {"granted": granted, "tenant_id": row.tenant_id}
        await audit.note(transaction, who, "send_as.add", row.address, **told)
    return {"address": granted, "created_at": new["created_at"]}


async def remove_grant(database: Database, who: Principal, address: str, granted: str) -> None:
    """The account may not send as that address any more."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        may_change(who, row, {})
        mine = (send_as.c.account_id == row.id) & (send_as.c.address == granted.lower())
        if not await transaction.execute(delete(send_as).where(mine)):
            raise NotFound("granted", f"{address} has no grant for {granted}")
        told = {"granted": granted.lower(), "tenant_id": row.tenant_id}
        await audit.note(transaction, who, "send_as.remove", row.address, **told)


def _checked(granted: str) -> str:
    local_part, name = split_address(granted.strip())
    if local_part == EVERY:
        return f"{EVERY}@{check_domain(name)}"
    return check_address(granted, "granted")
