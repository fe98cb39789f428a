"""Plans: written before anything is handed on, in one transaction for many messages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import deferred, effect, outbox, outcome, plan, quarantine
from libs.common.jobs import DeliveryJob, Plan, Recipient, StorageJob, decode_plan, encode
from libs.common.runtime.failpoint import seeded_bug
from libs.common.trace import TraceRow, write_trace
from services.delivery.route import Route


async def _known_plans(transaction: Transaction, names: Sequence[str]) -> dict[str, Plan]:
    """The plans that were committed under these names (`DeliveryJob.plan_id`) before."""
    query = select(plan.c.mail_id, plan.c.targets).where(
        in_list(plan.c.mail_id, names, transaction.dialect)
    )
    return {row.mail_id: decode_plan(row.targets) for row in await transaction.rows(query)}


async def write_plans(
    transaction: Transaction, routes: Sequence[tuple[DeliveryJob, Route]]
) -> dict[str, Plan]:
    """Commit what was decided; where another process was first, its plan is what counts."""
    now = time.time()
    made = {job.plan_id: Plan(r.storage, tuple(r.relays)) for job, r in routes}
    rows = [
        {"mail_id": name, "targets": encode(item), "created_at": now}
        for name, item in sorted(made.items())
    ]
    new = {row["mail_id"] for row in await transaction.insert_new(plan, rows, ("mail_id",))}
    fresh = [(job, r) for job, r in routes if job.plan_id in new]
    await _defer_forwards(transaction, fresh, now)
    await _settle(transaction, fresh, now)
    await _give_notice(transaction, fresh, now)
    await write_trace(transaction, [row for job, r in fresh for row in _traces(job, r, now)])
    others = [name for name in made if name not in new]
    return {**made, **(await _known_plans(transaction, others) if others else {})}


async def _defer_forwards(
    transaction: Transaction, routes: Sequence[tuple[DeliveryJob, Route]], now: float
) -> None:
    """Forwards are rows from the start: no queue holds them, so no queue can lose them."""
    await transaction.insert(
        deferred,
        [
            {
                "mail_id": child.header.mail_id,
                "n": 0,
                "recipient": child.header.envelope.recipients[0].address,
                "domain": child.domain,
                "received_at": child.header.received_at,
                "next_attempt_at": now,
                "job": encode(child),
                "tenant_id": child.header.tenant,
                "reverse_path": child.header.envelope.reverse_path,
            }
            for _, r in routes
            for child in r.forwards
        ],
    )


async def _settle(
    transaction: Transaction, routes: Sequence[tuple[DeliveryJob, Route]], now: float
) -> None:
    """Terminal states that are reached here: forwarded as another message, or nobody there."""
    rows = []
    held = []
    for job, r in routes:
        mail_id = job.header.mail_id
        if r.storage and seeded_bug("early_outcome"):
            rows += [(mail_id, item, "delivered", "not yet") for item in _named(job, r.storage)]
        for recipient, child in r.forwarded:
            rows.append((mail_id, recipient, "forwarded", f"as {child}"))
        rows += [(mail_id, recipient, state, why) for recipient, state, why in r.ended]
        for recipient in r.gone:
            # Known at RCPT, gone now.  A bounce after the 250 may go to a forged address, so it
            # is held for the administrator instead (I9: no backscatter).
            reason = "the account or alias was removed after the message was accepted"
            rows.append((mail_id, recipient, "quarantined", reason))
            held.append(
                {
                    "mail_id": mail_id,
                    "n": recipient.n,
                    "tenant_id": job.header.tenant,
                    "recipient": recipient.address,
                    "reason": reason,
                    "created_at": now,
                }
            )
    await transaction.insert(quarantine, held, ignore=True)
    await transaction.insert(
        outcome,
        [
            {
                "mail_id": mail_id,
                "n": recipient.n,
                "recipient": recipient.address,
                "state": state,
                "detail": detail,
                "at": now,
            }
            for mail_id, recipient, state, detail in rows
        ],
        ignore=True,
    )


async def _give_notice(
    transaction: Transaction, routes: Sequence[tuple[DeliveryJob, Route]], now: float
) -> None:
    """What scripts have us write: the effect, and its job in the outbox, with the plan (T6)."""
    for job, r in routes:
        for claim in r.claims:
            await claim(transaction)
        for notice in r.notices:
            if notice.claim is not None and not await notice.claim(transaction):
                continue
            row = {
                "mail_id": job.header.mail_id,
                "n": notice.n,
                "kind": notice.kind,
                "child": notice.child,
                "at": now,
            }
            await transaction.insert(effect, [row], ignore=True)
            put = {
                "key": f"sieve:{notice.child}",
                "queue": "filter",
                "mail_id": notice.child,
                "body": notice.job,
                "created_at": now,
            }
            await transaction.insert(outbox, [put], ignore=True)


def _named(job: DeliveryJob, target: StorageJob) -> list[Recipient]:
    named = {n for n, _ in target.addresses}
    return [item for item in job.header.envelope.recipients if item.n in named]


def _traces(job: DeliveryJob, r: Route, now: float) -> list[TraceRow]:
    mail_id = job.header.mail_id
    addresses = {item.n: item.address for item in job.header.envelope.recipients}
    rows = [
        TraceRow(mail_id, "delivery", "sieve", n, address, why, now) for n, address, why in r.steps
    ]
    rows += [
        TraceRow(mail_id, "delivery", "planned", n, addresses[n], f"mailbox {t.mailbox}", now)
        for t in (r.storage.targets if r.storage else ())
        for n in t.recipients
    ]
    rows += [
        TraceRow(mail_id, "delivery", "planned", n, addresses[n], f"relay to {relay.domain}", now)
        for relay in r.relays
        for n in relay.recipients
    ]
    rows += [
        TraceRow(mail_id, "delivery", "forwarded", item.n, item.address, f"as {child}", now)
        for item, child in r.forwarded
    ]
    rows += [
        TraceRow(mail_id, "delivery", state, item.n, item.address, why, now)
        for item, state, why in r.ended
    ]
    return rows + [
        TraceRow(mail_id, "delivery", "quarantined", item.n, item.address, "account gone", now)
        for item in r.gone
    ]
