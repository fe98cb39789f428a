"""Re-scans: asking for one, how far it is, what it found; the filter role does the work."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, delete, select, true, update

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import audit
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, message, rescan, rescan_finding, tenant

KEPT_SECONDS = 90 * 86400.0
"""How long it is known what a re-scan has done."""
MOST_RUNNING = 10
"""Of one tenant, or of the platform."""
_SHOWN = (
    *(rescan.c[name] for name in ("id", "since", "until", "dry_run", "reason", "state", "note")),
    *(rescan.c[name] for name in ("total", "seen", "junk", "quarantined", "back", "failed")),
    rescan.c.created_at,
    rescan.c.changed_at,
    tenant.c.name.label("tenant"),
)
_RUNS = rescan.outerjoin(tenant, tenant.c.id == rescan.c.tenant_id)


def _mine(who: Principal) -> ColumnElement[bool]:
    return true() if who.everywhere else rescan.c.tenant_id == who.tenant_id


async def begin_rescan(
    database: Database,
    who: Principal,
    since: float,
    *,
    tenant_name: str = "",
    dry_run: bool = False,
) -> dict[str, Any]:
    """Have mail that arrived since then (seconds since the epoch) checked again.

    `tenant_name` keeps it to one tenant's accounts; whoever is of a tenant reaches only his own.
    """
    now = time.time()
    if not 0 <= since < now:
        raise RegistryError("since", "name a time in the past")

    async def work(transaction: Transaction) -> int:
        tenant_id = await _tenant(transaction, who, tenant_name)
        await _check_room(transaction, tenant_id)
        number = await insert_run(
            transaction, since, now, tenant_id=tenant_id, dry_run=dry_run, reason=who.actor
        )
        told = {"since": since, "dry_run": dry_run, "tenant_id": tenant_id}
        await audit.note(transaction, who, "rescan.begin", f"rescan:{number}", **told)
        return number

    return await get_rescan(database, who, await database.retry(work))


async def insert_run(
    transaction: Transaction,
    since: float,
    now: float,
    *,
    reason: str,
    tenant_id: int | None = None,
    dry_run: bool = False,
) -> int:
    """Its id; runs that ended long ago are forgotten."""
    ended = (rescan.c.state != "running") & (rescan.c.changed_at < now - KEPT_SECONDS)
    await transaction.execute(delete(rescan).where(ended))
    row = {"since": since, "until": now, "dry_run": dry_run, "reason": reason}
    row |= {"tenant_id": tenant_id, "created_at": now, "changed_at": now}
    made = rescan.insert().values(**row).returning(rescan.c.id)
    return int(await transaction.scalar(made))


async def _tenant(transaction: Transaction, who: Principal, name: str) -> int | None:
    if not name:
        return None if who.everywhere else who.tenant_id
    query = select(tenant.c.id).where(tenant.c.name == name)
    query = query if who.everywhere else query.where(tenant.c.id == who.tenant_id)
    number = await transaction.scalar(query)
    if number is None:
        raise NotFound("tenant", f"there is no tenant {name}")
    return int(number)


async def _check_room(transaction: Transaction, tenant_id: int | None) -> None:
    of_tenant = (
        rescan.c.tenant_id.is_(None) if tenant_id is None else (rescan.c.tenant_id == tenant_id)
    )
    query = select(rescan.c.id).where(rescan.c.state == "running", of_tenant)
    if len(await transaction.rows(query.limit(MOST_RUNNING))) >= MOST_RUNNING:
        raise RegistryError("since", f"{MOST_RUNNING} re-scans are under way; stop one, or wait")


async def list_rescans(
    database: Database, who: Principal, *, cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first."""
    query = select(*_SHOWN).select_from(_RUNS).where(_mine(who))
    async with database.reading() as transaction:
        return await page(transaction, query, [rescan.c.id], cursor, limit, descending=True)


async def _find(transaction: Transaction, who: Principal, number: int) -> Any:
    query = select(*_SHOWN).select_from(_RUNS).where(_mine(who), rescan.c.id == number)
    row = await transaction.one_or_none(query)
    if row is None:
        raise NotFound("id", f"there is no re-scan {number}")
    return row


async def get_rescan(database: Database, who: Principal, number: int) -> dict[str, Any]:
    """One of them."""
    async with database.reading() as transaction:
        return plain(await _find(transaction, who, number))


async def list_findings(
    database: Database, who: Principal, number: int, *, cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """What it moved, or would move, by message."""
    columns = ("mail_id", "account_id", "action", "reason", "at")
    query = select(
        *(rescan_finding.c[name] for name in columns),
        account.c.address,
        message.c.subject,
        message.c.reverse_path.label("sender"),
    ).select_from(
        rescan_finding.join(account, account.c.id == rescan_finding.c.account_id).outerjoin(
            message, message.c.mail_id == rescan_finding.c.mail_id
        )
    )
    keys = [rescan_finding.c.mail_id, rescan_finding.c.account_id]
    async with database.reading() as transaction:
        await _find(transaction, who, number)
        mine = query.where(rescan_finding.c.rescan_id == number)
        return await page(transaction, mine, keys, cursor, limit)


async def stop_rescan(database: Database, who: Principal, number: int) -> dict[str, Any]:
    """Do no more of it; what is done stays done."""
    async with database.transaction() as transaction:
        await _find(transaction, who, number)
        here = (rescan.c.id == number) & (rescan.c.state == "running")
        values = {"state": "stopped", "changed_at": time.time()}
        if await transaction.execute(update(rescan).where(here).values(**values)):
            await audit.note(transaction, who, "rescan.stop", f"rescan:{number}")
        return plain(await _find(transaction, who, number))
