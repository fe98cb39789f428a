"""The audit: who changed what, append-only, each row sealed by a hash over the one before."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import orjson
from sqlalchemy import select, text, true

from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import audit

_FIRST = "0" * 64
_LOCK = 0x41554449  # "AUDI": rows are chained one after the other
_SEALED = ("at", "tenant_id", "actor", "client", "action", "object", "detail")
_BATCH = 1000


def _seal(previous: str, row: dict[str, Any]) -> str:
    content = orjson.dumps([row[name] for name in _SEALED])
    return hashlib.sha256(previous.encode() + content).hexdigest()


async def note(
    transaction: Transaction, who: Principal, action: str, subject: str, **detail: Any
) -> None:
    """Append a row in the transaction that does what it tells; never put a secret in `detail`."""
    if transaction.dialect == "postgresql":
        await transaction.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    newest = select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)
    previous = await transaction.scalar(newest) or _FIRST
    tenant = detail.pop("tenant_id", who.tenant_id)
    row = {
        "at": time.time(),
        "tenant_id": tenant,
        "actor": who.actor,
        "client": who.client,
        "action": action,
        "object": subject,
        "detail": orjson.dumps(detail, default=str).decode(),
    }
    sealed = {**row, "previous": previous, "hash": _seal(previous, row)}
    await transaction.insert(audit, [sealed])


async def list_audit(
    database: Database,
    who: Principal,
    *,
    action: str = "",
    actor: str = "",
    subject: str = "",
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first; a tenant sees its own rows."""
    query = select(audit).where(true() if who.everywhere else audit.c.tenant_id == who.tenant_id)
    for column, value in ((audit.c.action, action), (audit.c.actor, actor)):
        query = query.where(column == value) if value else query
    query = query.where(audit.c.object == subject) if subject else query
    async with database.reading() as transaction:
        rows, after = await page(transaction, query, [audit.c.id], cursor, limit, descending=True)
    return [{**row, "detail": orjson.loads(row["detail"])} for row in rows], after


async def verify(database: Database) -> tuple[int, int | None]:
    """(rows checked, id of the first row that was changed or follows a removed one)."""
    checked, seen, previous = 0, 0, _FIRST
    while True:
        query = select(audit).where(audit.c.id > seen).order_by(audit.c.id).limit(_BATCH)
        async with database.reading() as transaction:
            rows = [plain(row) for row in await transaction.rows(query)]
        for row in rows:
            if row["previous"] != previous or row["hash"] != _seal(previous, row):
                return checked, row["id"]
            checked, seen, previous = checked + 1, row["id"], row["hash"]
        if len(rows) < _BATCH:
            return checked, None
