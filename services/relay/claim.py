"""Claims: recipients of one message in one domain that this process may try now (rule 7).

A claim is rows of `deferred` that carry our name, an end of the lease and the number of the
attempt.  The number is the fence: whoever takes a row over raises it, and what is sent or
recorded under an older number is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, select, tuple_, update

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import deferred, outcome
from libs.common.jobs import Recipient, RelayJob, decode, encode
from services.relay.fate import Fate, bounced
from services.relay.fate import deferred as deferred_fate

MOST_ROWS = 500
"""Rows that are looked at to find what is due."""
ROUND_SECONDS = 5
"""Of the times until which rows are put off."""


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One recipient under one attempt."""

    mail_id: str
    n: int
    attempt: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one attempt is about."""

    job: RelayJob
    units: tuple[Unit, ...]
    untried: Mapping[int, Fate] = field(default_factory=dict)
    """Ordinals that are not to be tried, and what becomes of them."""

    def recipient(self, n: int) -> Recipient:
        """The recipient with this ordinal."""
        return next(r for r in self.job.header.envelope.recipients if r.n == n)


PutOff = Callable[[str], float]
"""Seconds until a job for this domain may come again; 0: claim it."""
GivenUp = Callable[[str, float], bool]
"""Whether what was received for a domain at a time ends without another attempt."""


async def claim_new(
    transaction: Transaction,
    jobs: Sequence[RelayJob],
    owner: str,
    seconds: float,
    wait_for: PutOff = lambda _: 0.0,
) -> list[Claim]:
    """Rows for jobs from the queue; recipients that have a row or an outcome are left out.

    What is put off has rows too, but is nobody's until it is due.
    """
    now = await transaction.now()
    waits = [wait_for(job.domain) for job in jobs]
    rows = [
        _waiting(job, n, now + wait) if wait else _row(job, n, owner, now, seconds)
        for job, wait in zip(jobs, waits, strict=True)
        for n in job.recipients
    ]
    rows.sort(key=lambda row: (row["mail_id"], row["n"]))
    new = await transaction.insert_new(deferred, rows, ("mail_id", "n"))
    keys = {(str(row["mail_id"]), int(row["n"])) for row in new}
    # Asked after the insert, which waits for one who just deletes such a row: so a job that
    # comes again while its outcome is recorded finds either the row or the outcome.
    keys -= await _drop_finished(transaction, keys)
    claims = []
    for job in (job for job, wait in zip(jobs, waits, strict=True) if not wait):
        units = [Unit(job.header.mail_id, n, 1) for n in job.recipients]
        ours = tuple(unit for unit in units if (unit.mail_id, unit.n) in keys)
        keys -= {(unit.mail_id, unit.n) for unit in ours}
        if ours:
            claims.append(Claim(job, ours))
    return claims


async def _drop_finished(
    transaction: Transaction, keys: set[tuple[str, int]]
) -> set[tuple[str, int]]:
    ids = {mail_id for mail_id, _ in keys}
    query = select(outcome.c.mail_id, outcome.c.n).where(
        in_list(outcome.c.mail_id, sorted(ids), transaction.dialect)
    )
    finished = {(row.mail_id, row.n) for row in await transaction.rows(query)} & keys
    if finished:
        mine = tuple_(deferred.c.mail_id, deferred.c.n).in_(sorted(finished))
        await transaction.execute(delete(deferred).where(mine))
    return finished


def _row(job: RelayJob, n: int, owner: str, now: float, seconds: float) -> dict[str, object]:
    header = job.header
    recipient = next(r for r in header.envelope.recipients if r.n == n)
    return {
        "mail_id": header.mail_id,
        "n": n,
        "recipient": recipient.address,
        "domain": job.domain,
        "received_at": header.received_at,
        "attempts": 1,
        "next_attempt_at": now,
        "lease_owner": owner,
        "lease_until": now + seconds,
        "last_reply": "",
        "job": encode(_alone(job, recipient)),
        "tenant_id": header.tenant,
        "reverse_path": header.envelope.reverse_path,
    }


def _waiting(job: RelayJob, n: int, at: float) -> dict[str, object]:
    why = f"waits for its turn at {job.domain}"
    unclaimed = {"attempts": 0, "lease_owner": "", "lease_until": 0.0}
    return {**_row(job, n, "", at, 0.0), **unclaimed, "next_attempt_at": at, "last_reply": why}


def _alone(job: RelayJob, recipient: Recipient) -> RelayJob:
    """The job for one recipient: a row must not grow with the number of the others."""
    changed = msgspec.structs.replace
    envelope = changed(job.header.envelope, recipients=(recipient,))
    header = changed(job.header, envelope=envelope)
    return changed(job, header=header, recipients=(recipient.n,))


async def claim_due(
    transaction: Transaction,
    owner: str,
    seconds: float,
    most: int,
    wait_for: PutOff = lambda _: 0.0,
    given_up: GivenUp = lambda domain, received_at: False,
) -> list[Claim]:
    """Take up to `most` groups of rows that are due and that nobody holds; put off the others.

    What is put off gets no attempt and so no notice of its delay, but it does not get too old:
    what is given up is claimed with the fate that ends it.
    """
    now = await transaction.now()
    due = (deferred.c.next_attempt_at <= now) & (deferred.c.lease_until <= now)
    columns = (deferred.c.mail_id, deferred.c.domain, deferred.c.order, deferred.c.received_at)
    first = select(*columns).where(due).order_by(deferred.c.next_attempt_at).limit(MOST_ROWS)
    found = await transaction.rows(first)
    over = {(r.mail_id, r.domain) for r in found if given_up(r.domain, r.received_at)}
    # What is not tried waits for nobody.
    free = over | {(r.mail_id, r.domain) for r in found if r.order}
    due_groups = dict.fromkeys((r.mail_id, r.domain) for r in found)
    waits = {group: 0.0 if group in free else wait_for(group[1]) for group in due_groups}
    await _put_off(transaction, {g: now + wait for g, wait in waits.items() if wait}, due)
    groups = [group for group, wait in waits.items() if not wait]
    if not groups:
        return []
    query = (
        select(
            deferred.c.mail_id,
            deferred.c.n,
            deferred.c.domain,
            deferred.c.last_reply,
            deferred.c.attempts,
            deferred.c.job,
            deferred.c.order,
            deferred.c.order_why,
        )
        .where(due, tuple_(deferred.c.mail_id, deferred.c.domain).in_(groups[:most]))
        .order_by(deferred.c.mail_id, deferred.c.n)
        .with_for_update(skip_locked=True)
    )
    rows = await transaction.rows(query)
    if not rows:
        return []
    keys = tuple_(deferred.c.mail_id, deferred.c.n).in_([(row.mail_id, row.n) for row in rows])
    await transaction.execute(
        update(deferred)
        .where(keys)
        .values(lease_owner=owner, lease_until=now + seconds, attempts=deferred.c.attempts + 1)
    )
    claims = _claims(
        (decode(bytes(row.job), RelayJob), Unit(row.mail_id, row.n, row.attempts + 1))
        for row in rows
    )
    fates = {(row.mail_id, row.n): fate for row in rows if (fate := _untried(row, over))}
    return [_with_fates(item, fates) for item in claims] if fates else claims


def _untried(row: Any, over: set[tuple[str, str]]) -> Fate | None:
    if row.order == "bounce":
        return bounced("5.0.0", row.order_why)
    if (row.mail_id, row.domain) in over:
        # RFC 3463 §3.5: delivery time expired.
        return deferred_fate("4.4.7", row.last_reply or f"{row.domain} does not answer")
    return None


def _with_fates(item: Claim, fates: Mapping[tuple[str, int], Fate]) -> Claim:
    mail_id = item.job.header.mail_id
    mine = {u.n: fates[mail_id, u.n] for u in item.units if (mail_id, u.n) in fates}
    return replace(item, untried=mine)


async def _put_off(
    transaction: Transaction, until: Mapping[tuple[str, str], float], due: ColumnElement[bool]
) -> None:
    """Due later, without an attempt; one statement for each time, so times are rounded."""
    by_time: dict[float, list[tuple[str, str]]] = {}
    for group, at in sorted(until.items()):
        by_time.setdefault(math.ceil(at / ROUND_SECONDS) * ROUND_SECONDS, []).append(group)
    for at, groups in sorted(by_time.items()):
        mine = tuple_(deferred.c.mail_id, deferred.c.domain).in_(groups)
        await transaction.execute(update(deferred).where(mine, due).values(next_attempt_at=at))


def _claims(items: Iterable[tuple[RelayJob, Unit]]) -> list[Claim]:
    """One claim for each message and domain, with the recipients of all its rows."""
    groups: dict[tuple[str, str], list[tuple[RelayJob, Unit]]] = {}
    for job, unit in items:
        groups.setdefault((unit.mail_id, job.domain), []).append((job, unit))
    claims = []
    for group in groups.values():
        known = {r.n: r for job, _ in group for r in job.header.envelope.recipients}
        units = tuple(unit for _, unit in group)
        recipients = tuple(known[n] for n in sorted(known))
        job, changed = group[0][0], msgspec.structs.replace
        envelope = changed(job.header.envelope, recipients=recipients)
        header = changed(job.header, envelope=envelope)
        job = changed(job, header=header, recipients=tuple(unit.n for unit in units))
        claims.append(Claim(job, units))
    return claims


async def still_ours(transaction: Transaction, owner: str, units: Sequence[Unit]) -> set[Unit]:
    """Those units that nobody took over, asked right before the dot."""
    query = select(deferred.c.mail_id, deferred.c.n, deferred.c.attempts).where(
        deferred.c.lease_owner == owner,
        in_list(deferred.c.mail_id, sorted({u.mail_id for u in units}), transaction.dialect),
    )
    held = {Unit(row.mail_id, row.n, row.attempts) for row in await transaction.rows(query)}
    return held & set(units)


async def renew(
    transaction: Transaction, owner: str, units: Sequence[Unit], seconds: float
) -> None:
    """Keep what this process has in hand."""
    now = await transaction.now()
    await transaction.execute(
        update(deferred).where(_held(owner, units)).values(lease_until=now + seconds)
    )


async def release(transaction: Transaction, owner: str, units: Sequence[Unit]) -> None:
    """Give up claims of which nothing was sent: they are due at once, for whoever comes."""
    await transaction.execute(
        update(deferred).where(_held(owner, units)).values(lease_owner="", lease_until=0.0)
    )


async def put_off(
    transaction: Transaction, owner: str, units: Sequence[Unit], seconds: float
) -> None:
    """Give up claims of which nothing was sent, until later."""
    at = await transaction.now() + seconds
    values = {"lease_owner": "", "lease_until": 0.0, "next_attempt_at": at}
    await transaction.execute(update(deferred).where(_held(owner, units)).values(**values))


def _held(owner: str, units: Sequence[Unit]) -> ColumnElement[bool]:
    keys = tuple_(deferred.c.mail_id, deferred.c.n, deferred.c.attempts)
    held = keys.in_([(unit.mail_id, unit.n, unit.attempt) for unit in units])
    return (deferred.c.lease_owner == owner) & held
