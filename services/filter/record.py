"""Recording verdicts: one transaction for a batch, in which the first writer wins."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import message, outcome, quarantine
from libs.common.jobs import FilterJob, Verdict
from libs.common.runtime.failpoint import seeded_bug
from libs.common.trace import TraceRow, write_trace
from services.filter.examine import Examined


@dataclass(frozen=True, slots=True)
class Decided:
    """What counts from here on, whoever decided it."""

    job: FilterJob
    size: int
    verdict: Verdict
    text: str
    prefix: str
    disguised: tuple[int, ...] = ()

    @property
    def held(self) -> bool:
        """It is not delivered."""
        return self.verdict in (Verdict.QUARANTINE, Verdict.REJECT)


async def known(transaction: Transaction, jobs: Sequence[FilterJob]) -> list[Decided]:
    """Those jobs that were decided before, with the stored verdicts."""
    stored = await _stored(transaction, [job.header.mail_id for job in jobs])
    return [
        _decide(job, stored[job.header.mail_id]) for job in jobs if job.header.mail_id in stored
    ]


async def record(
    transaction: Transaction, examined: Sequence[Examined], took: float
) -> list[Decided]:
    """Insert the message rows; where a row is there already, its verdict is what counts."""
    ours = {item.job.header.mail_id: item for item in examined}
    rows = [ours[mail_id].row for mail_id in sorted(ours)]
    new = {row["mail_id"] for row in await transaction.insert_new(message, rows, ("mail_id",))}
    stored = await _stored(transaction, [mail_id for mail_id in ours if mail_id not in new])
    if seeded_bug("verdict_race"):
        stored = {}
    decided = [_decide(item.job, stored.get(mail_id, item.row)) for mail_id, item in ours.items()]
    fresh = [item for item in decided if item.job.header.mail_id in new]
    await _hold(transaction, [item for item in fresh if item.held])
    await write_trace(transaction, [row for item in fresh for row in _traces(item, took)])
    return decided


async def _stored(transaction: Transaction, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    if not ids:
        return {}
    query = select(
        message.c.mail_id,
        message.c.size,
        message.c.verdict,
        message.c.verdict_text,
        message.c.prefix,
        message.c.disguised,
    ).where(in_list(message.c.mail_id, ids, transaction.dialect))
    return {row.mail_id: dict(row._mapping) for row in await transaction.rows(query)}


def _decide(job: FilterJob, row: Mapping[str, Any]) -> Decided:
    return Decided(
        job,
        int(row["size"]),
        Verdict(str(row["verdict"])),
        str(row["verdict_text"]),
        str(row["prefix"]),
        tuple(map(int, str(row["disguised"]).split())),
    )


async def _hold(transaction: Transaction, held: Sequence[Decided]) -> None:
    """A reject is recorded as quarantined; only ingress, having said 550, makes it refused."""
    now = time.time()
    # The bug: a reject that comes after the 250 is taken for one that came before it.
    state = "refused" if seeded_bug("verdict_race") else "quarantined"
    units = [(item, r) for item in held for r in item.job.header.envelope.recipients]
    await transaction.insert(
        quarantine,
        [
            {
                "mail_id": item.job.header.mail_id,
                "n": r.n,
                "tenant_id": item.job.header.tenant,
                "recipient": r.address,
                "reason": item.text,
                "created_at": now,
            }
            for item, r in units
            if state == "quarantined"
        ],
        ignore=True,
    )
    await transaction.insert(
        outcome,
        [
            {
                "mail_id": item.job.header.mail_id,
                "n": r.n,
                "recipient": r.address,
                "state": state,
                "detail": item.text,
                "at": now,
            }
            for item, r in units
        ],
        ignore=True,
    )


def _traces(item: Decided, took: float) -> list[TraceRow]:
    """The way until here: ingress keeps no row of its own, so that it needs no database."""
    header = item.job.header
    rows = [
        TraceRow(header.mail_id, "ingress", "accepted", why=_facts(item), at=header.received_at),
        TraceRow(header.mail_id, "filter", item.verdict.value, why=item.text, took=took),
    ]
    if header.policy:
        found = " ".join(header.policy)
        rows.append(
            TraceRow(header.mail_id, "ingress", "screened", why=found, at=header.received_at)
        )
    if item.held:
        rows += [
            TraceRow(header.mail_id, "filter", "quarantined", r.n, r.address, item.text)
            for r in header.envelope.recipients
        ]
    return rows


def _facts(item: Decided) -> str:
    header = item.job.header
    client = header.client
    if header.parent:
        return f"{header.origin.value} of {header.parent}, {item.size} octets"
    login = f" as {client.login}" if client.login else ""
    tls = f", {client.tls}" if client.tls else ""
    to = ", ".join(f"<{r.address}>" for r in header.envelope.recipients[:5])
    return (
        f"{header.listener}: from <{header.envelope.reverse_path}> to {to}, {item.size} octets,"
        f" by {client.helo} [{client.ip}]{login}, {client.protocol}{tls}"
    )
