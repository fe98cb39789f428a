"""Recipients that took no mail again and again: they are bounced untried for a while.

Who goes on sending to mailboxes that do not exist looks like a spammer to those hosts.  A tenant's
list holds what its own mail met, and what its administrators put there.  Only mail whose sender
we know is held to it: he is told, and can ask for the address to be taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import suppression
from libs.protocols.message.date import format_date
from services.relay import bounce
from services.relay.claim import Claim
from services.relay.fate import bounced

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class HardBounce:
    """A recipient that was refused for good, and will be the next time."""

    tenant: int
    recipient: str
    reason: str
    detail: str


async def without_suppressed(
    transaction: Transaction, claims: Sequence[Claim], after: int, now: float
) -> list[Claim]:
    """The claims, with a bounce for each recipient on the list of its tenant."""
    asked = {key for item in claims for key in _keys(item).values()}
    if not asked:
        return list(claims)
    addresses = sorted({address for _, address in asked})
    counts = suppression.c.bounces >= after if after else suppression.c.reason == MANUAL
    query = select(suppression).where(
        in_list(suppression.c.address, addresses, transaction.dialect),
        suppression.c.expires_at > now,
        or_(suppression.c.reason == MANUAL, counts),
    )
    found = {
        (row.tenant_id, row.address): _why(row)
        for row in await transaction.rows(query)
        if (row.tenant_id, row.address) in asked
    }
    return [_ordered(item, found) for item in claims] if found else list(claims)


def _keys(item: Claim) -> dict[int, tuple[int, str]]:
    """Tenant and address of each recipient whose sender would be told."""
    header = item.job.header
    if not bounce.is_known(header):
        return {}
    ns = {unit.n for unit in item.units} - item.untried.keys()
    recipients = header.envelope.recipients
    return {r.n: (header.tenant, r.address.lower()) for r in recipients if r.n in ns}


def _ordered(item: Claim, found: dict[tuple[int, str], str]) -> Claim:
    mine = {n: bounced("5.0.0", found[key]) for n, key in _keys(item).items() if key in found}
    return replace(item, untried={**item.untried, **mine}) if mine else item


def _why(row: Any) -> str:
    who = "an administrator put this address on the list of those that get no mail"
    if row.reason != MANUAL:
        who = f"this address took no mail {row.bounces} times, at last: {row.detail}"
    until = format_date(row.expires_at)
    return f"Not tried: {who}. Until {until}, or until it is taken off the list."


async def note_bounces(
    transaction: Transaction, bounces: Iterable[HardBounce], now: float, seconds: float
) -> None:
    """Count refusals for good; each keeps the address on the list for so many seconds more."""
    # One row for each address: one statement cannot change a row twice.
    rows = {
        (item.tenant, item.recipient.lower()): {
            "tenant_id": item.tenant,
            "address": item.recipient.lower(),
            "reason": item.reason,
            "detail": item.detail,
            "bounces": 1,
            "last_at": now,
            "expires_at": now + seconds,
        }
        for item in bounces
    }
    if not rows:
        return
    await transaction.execute(delete(suppression).where(suppression.c.expires_at <= now))
    insert = (postgresql if transaction.dialect == "postgresql" else sqlite).insert(suppression)
    new, old = insert.excluded, suppression.c
    await transaction.execute(
        insert.values([rows[key] for key in sorted(rows)]).on_conflict_do_update(
            index_elements=["tenant_id", "address"],
            set_={
                "reason": new.reason,
                "detail": new.detail,
                "bounces": old.bounces + 1,
                "last_at": new.last_at,
                "expires_at": case(
                    (old.expires_at > new.expires_at, old.expires_at), else_=new.expires_at
                ),
            },
            where=old.reason != MANUAL,
        )
    )
