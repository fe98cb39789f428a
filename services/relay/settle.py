"""Recording what became of recipients: one transaction for the results of many attempts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, tuple_, update

from libs.common.db import Transaction
from libs.common.db.schema import deferred, effect, outbox, outcome, quarantine
from libs.common.trace import TraceRow, write_trace
from libs.protocols.smtp.refusal_class import RefusalClass
from services.relay.bounce import Kind
from services.relay.claim import Unit

MAX_REPLY = 500


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of one unit."""

    unit: Unit
    recipient: str
    state: str
    """An outcome's state, or `deferred`."""
    why: str
    next_attempt_at: float = 0.0
    child: str = ""
    """The mail_id of the DSN about it."""
    reason: RefusalClass | None = None
    """Of what failed: the class of the reply."""
    kind: Kind | None = None
    """Of the DSN that the sender must get about it."""


@dataclass(frozen=True, slots=True)
class Report:
    """One attempt's results, recorded together or not at all."""

    results: tuple[Settled, ...]
    tenant: int
    took: float = 0.0
    dsn: bytes = b""
    """The filter job of the DSN `child`."""
    child: str = ""


async def settle(transaction: Transaction, owner: str, reports: Sequence[Report]) -> set[Unit]:
    """Write results; the units that were still ours, the only ones that are written."""
    ours = await _close(transaction, owner, reports) | await _defer(transaction, owner, reports)
    now = time.time()
    valid = [(r, s) for r in reports for s in r.results if s.unit in ours]
    ended = [(report, item) for report, item in valid if item.state != "deferred"]
    await transaction.insert(outcome, [_outcome(item, now) for _, item in ended], ignore=True)
    held = [(report, item) for report, item in ended if item.state == "quarantined"]
    await transaction.insert(
        quarantine, [_quarantined(report, item, now) for report, item in held], ignore=True
    )
    await _tell(transaction, valid, now)
    await write_trace(transaction, [_trace(report, item, now) for report, item in valid])
    return ours


async def _close(transaction: Transaction, owner: str, reports: Sequence[Report]) -> set[Unit]:
    """Remove the rows of ended units; the fence is in the condition (T5)."""
    units = sorted(s.unit for r in reports for s in r.results if s.state != "deferred")
    if not units:
        return set()
    keys = tuple_(deferred.c.mail_id, deferred.c.n, deferred.c.attempts)
    rows = await transaction.rows(
        delete(deferred)
        .where(deferred.c.lease_owner == owner)
        .where(keys.in_([(u.mail_id, u.n, u.attempt) for u in units]))
        .returning(deferred.c.mail_id, deferred.c.n, deferred.c.attempts)
    )
    return {Unit(row.mail_id, row.n, row.attempts) for row in rows}


async def _defer(transaction: Transaction, owner: str, reports: Sequence[Report]) -> set[Unit]:
    ours = set()
    waiting = [s for r in reports for s in r.results if s.state == "deferred"]
    for item in sorted(waiting, key=lambda s: s.unit):
        changed = await transaction.execute(
            update(deferred)
            .where(
                deferred.c.mail_id == item.unit.mail_id,
                deferred.c.n == item.unit.n,
                deferred.c.attempts == item.unit.attempt,
                deferred.c.lease_owner == owner,
            )
            .values(
                next_attempt_at=item.next_attempt_at,
                last_reply=_storable(item.why),
                lease_owner="",
                lease_until=0.0,
            )
        )
        if changed:
            ours.add(item.unit)
    return ours


async def _tell(
    transaction: Transaction, valid: Sequence[tuple[Report, Settled]], now: float
) -> None:
    """The effect and the job of each DSN, with the outcomes that it tells of (T6)."""
    told = [(report, item) for report, item in valid if item.child]
    rows = [
        {
            "mail_id": item.unit.mail_id,
            "n": item.unit.n,
            "kind": str(item.kind),
            "child": item.child,
            "at": now,
        }
        for _, item in told
    ]
    new = await transaction.insert_new(effect, rows, ("mail_id", "n", "kind")) if rows else []
    children = {row["child"] for row in new}
    jobs = {report.child: report.dsn for report, _ in told if report.child in children}
    await transaction.insert(
        outbox,
        [
            {
                "key": f"dsn:{child}",
                "queue": "filter",
                "mail_id": child,
                "body": body,
                "created_at": now,
            }
            for child, body in sorted(jobs.items())
        ],
        ignore=True,
    )


def _outcome(item: Settled, now: float) -> dict[str, Any]:
    return {
        "mail_id": item.unit.mail_id,
        "n": item.unit.n,
        "recipient": item.recipient,
        "state": item.state,
        "detail": _storable(item.why),
        "at": now,
    }


def _quarantined(report: Report, item: Settled, now: float) -> dict[str, Any]:
    return {
        "mail_id": item.unit.mail_id,
        "n": item.unit.n,
        "tenant_id": report.tenant,
        "recipient": item.recipient,
        "reason": _storable(item.why),
        "created_at": now,
    }


def _trace(report: Report, item: Settled, now: float) -> TraceRow:
    why = f"attempt {item.unit.attempt}: {item.why}"
    if item.reason:
        why = f"{why} ({item.reason})"
    if item.child:
        why = f"{why}; the sender is told by {item.child}"
    unit = item.unit
    return TraceRow(
        unit.mail_id, "relay", item.state, unit.n, item.recipient, why, now, report.took
    )


def _storable(text: str) -> str:
    # NUL cannot be stored as text in PostgreSQL.
    return text[:MAX_REPLY].replace("\0", "")
