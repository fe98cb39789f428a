"""Mail that waits to leave: look, hold, release, try now, give up.

Rows under attempt are not touched: what is on the wire cannot be called back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import audit, reach
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import HELD, deferred, outcome, tenant
from libs.common.jobs import RelayJob, decode
from libs.common.trace import TraceRow, write_trace

_SHOWN = (
    deferred.c.mail_id,
    deferred.c.n,
    deferred.c.reverse_path.label("sender"),
    deferred.c.recipient,
    deferred.c.domain,
    deferred.c.received_at,
    deferred.c.attempts,
    deferred.c.next_attempt_at,
    deferred.c.lease_until,
    deferred.c.last_reply,
    deferred.c.order,
    deferred.c.order_why,
)
MOST = 1000
"""Rows that one transaction changes."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which rows: all that is given must be true."""

    mail_id: str = ""
    sender: str = ""
    recipient: str = ""
    domain: str = ""
    """The destination."""
    tenant: str = ""
    state: str = ""
    """waiting, held, or running."""

    @property
    def narrows(self) -> bool:
        """Something is given besides the state."""
        return any(getattr(self, f.name) for f in fields(self) if f.name != "state")


async def list_waiting(
    database: Database, who: Principal, which: Which, *, cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """Recipients that wait, the oldest message first."""
    keys = [deferred.c.mail_id, deferred.c.n]
    async with database.reading() as transaction:
        now = await transaction.now()
        query = select(*_SHOWN).where(*_conditions(who, which, now))
        rows, after = await page(transaction, query, keys, cursor, limit)
    return [_shown(row, now) for row in rows], after


async def count_waiting(database: Database, who: Principal, which: Which) -> int:
    """How many recipients that is."""
    query = select(func.count()).select_from(deferred)
    async with database.reading() as transaction:
        now = await transaction.now()
        found = await transaction.scalar(query.where(*_conditions(who, which, now)))
    return int(found or 0)


def _conditions(who: Principal, which: Which, now: float) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [reach.waiting(who)]
    given = (
        (deferred.c.mail_id, which.mail_id),
        (deferred.c.reverse_path, which.sender),
        (deferred.c.recipient, which.recipient),
        (deferred.c.domain, which.domain.lower()),
    )
    found += [column == value for column, value in given if value]
    if which.tenant:
        named = select(tenant.c.id).where(tenant.c.name == which.tenant).scalar_subquery()
        found.append(deferred.c.tenant_id == named)
    running = deferred.c.lease_until > now
    states = {"running": running, "held": deferred.c.order == "hold"}
    states["waiting"] = ~running & (deferred.c.order != "hold")
    return [*found, states[which.state]] if which.state else found


def _shown(row: dict[str, Any], now: float) -> dict[str, Any]:
    held = row["order"] == "hold"
    state = "running" if row["lease_until"] > now else "held" if held else "waiting"
    return {
        **{k: v for k, v in row.items() if k not in ("order", "order_why", "lease_until")},
        "next_attempt_at": None if held else row["next_attempt_at"],
        "state": state,
        "note": row["order_why"],
    }


async def get_waiting(database: Database, who: Principal, mail_id: str, n: int) -> dict[str, Any]:
    """One recipient with what is known of its message."""
    query = select(*_SHOWN, deferred.c.job).where(
        reach.waiting(who), deferred.c.mail_id == mail_id, deferred.c.n == n
    )
    async with database.reading() as transaction:
        now, row = await transaction.now(), await transaction.one_or_none(query)
    if row is None:
        raise NotFound("mail_id", f"there is no recipient {n} of {mail_id} that waits")
    found = plain(row)
    job = decode(bytes(found.pop("job")), RelayJob)
    header = job.header
    return {
        **_shown(found, now),
        "size": job.size,
        "origin": str(header.origin),
        "login": header.client.login,
        "client": header.client.ip,
        "requiretls": header.envelope.requiretls,
        "smtputf8": header.envelope.smtputf8,
    }


async def act(database: Database, who: Principal, action: str, which: Which, why: str = "") -> int:
    """hold, release, retry, bounce (the sender is told) or discard; how many recipients it met.

    `NotFound` when there are none.
    """
    if not which.narrows:
        raise RegistryError("body", "say which: a message, sender, recipient, domain or tenant")
    total, after = 0, ("", -1)
    while True:
        async with database.transaction() as transaction:
            rows = await _next(transaction, who, which, after, action)
            await _act(transaction, who, action, rows, why)
            total += len(rows)
            if len(rows) < MOST:
                if total:
                    given = {f.name: getattr(which, f.name) for f in fields(which)}
                    detail = {k: v for k, v in given.items() if v} | {"recipients": total}
                    await audit.note(
                        transaction, who, f"queue.{action}", "queue", why=why, **detail
                    )
                    return total
                raise NotFound("body", "there is no mail that waits and fits")
        after = (rows[-1].mail_id, rows[-1].n)


async def _next(
    transaction: Transaction, who: Principal, which: Which, after: tuple[str, int], action: str
) -> Any:
    """Rows that nobody tries just now, locked, the next ones in order."""
    now = await transaction.now()
    query = select(*_SHOWN).where(
        *_conditions(who, which, now),
        deferred.c.lease_until <= now,
        (deferred.c.mail_id > after[0])
        | ((deferred.c.mail_id == after[0]) & (deferred.c.n > after[1])),
    )
    if action in _MEETS:
        query = query.where(deferred.c.order == _MEETS[action])
    query = query.order_by(deferred.c.mail_id, deferred.c.n).limit(MOST)
    return await transaction.rows(query.with_for_update(skip_locked=True))


async def _act(transaction: Transaction, who: Principal, action: str, rows: Any, why: str) -> None:
    now, text = await transaction.now(), f"by {who.actor}{': ' if why else ''}{why}"
    values: dict[str, dict[str, Any]] = {
        "hold": {"order": "hold", "order_why": text, "next_attempt_at": HELD},
        "release": {"order": "", "order_why": "", "next_attempt_at": now},
        "retry": {"next_attempt_at": now},
        "bounce": {"order": "bounce", "order_why": f"given up {text}", "next_attempt_at": now},
    }
    # An attempt that slept beyond its lease finds at its fence that the row is not its own.
    nobody: dict[str, Any] = {"lease_owner": "", "lease_until": 0.0}
    by_message: dict[str, list[int]] = {}
    for row in rows:
        by_message.setdefault(row.mail_id, []).append(row.n)
    for mail_id, ns in by_message.items():
        mine = (deferred.c.mail_id == mail_id) & deferred.c.n.in_(ns)
        if action == "discard":
            await transaction.execute(delete(deferred).where(mine))
        else:
            await transaction.execute(
                update(deferred).where(mine).values(**values[action], **nobody)
            )
    if action == "discard":
        await transaction.insert(outcome, [_discarded(row, text, now) for row in rows], ignore=True)
    steps = [
        TraceRow(row.mail_id, "relay", _WORDS[action], row.n, row.recipient, text, now)
        for row in rows
    ]
    await write_trace(transaction, steps)


_MEETS = {"release": "hold", "retry": ""}
"""What is held stays held when others of its domain are hurried."""
_WORDS = {
    "hold": "held",
    "release": "released",
    "retry": "hurried",
    "bounce": "given up",
    "discard": "discarded",
}


def _discarded(row: Any, text: str, now: float) -> dict[str, Any]:
    return {
        "mail_id": row.mail_id,
        "n": row.n,
        "recipient": row.recipient,
        "state": "discarded",
        "detail": f"discarded {text}"[:500],
        "at": now,
    }
