"""The ledger's question: which recipients of which messages does some row account for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import deferred, effect, outbox, outcome, parked, plan, quarantine
from libs.common.jobs import DeliveryJob, FilterJob, LearnJob, RelayJob, StorageJob, decode_plan

Unit = tuple[str, int]
"""A mail_id and a recipient's ordinal."""
_jobs = msgspec.json.Decoder(FilterJob | DeliveryJob | StorageJob | RelayJob | LearnJob)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What rows say of some messages."""

    settled: set[Unit] = field(default_factory=set)
    """With an outcome, or a row of their own that leads to one."""
    carried: set[Unit] = field(default_factory=set)
    """Named by a job that is held in a row."""
    unread: set[str] = field(default_factory=set)
    """Messages with a job in a row that cannot be read: it may name any recipient."""

    def have(self, mail_id: str, n: int) -> bool:
        """Whether any row accounts for this recipient."""
        unit = (mail_id, n)
        return unit in self.settled or unit in self.carried or mail_id in self.unread

    def mail_ids(self) -> set[str]:
        """Messages of which anything is accounted for."""
        return {mail_id for mail_id, _ in self.settled | self.carried} | self.unread


async def accounted(transaction: Transaction, ids: Sequence[str]) -> Accounts:
    """What rows say of these messages."""
    found = Accounts()
    for table in (outcome, deferred, quarantine):
        query = select(table.c.mail_id, table.c.n)
        query = query.where(in_list(table.c.mail_id, ids, transaction.dialect))
        found.settled.update((row.mail_id, row.n) for row in await transaction.rows(query))
    for held in (outbox, parked):
        jobs = select(held.c.mail_id, held.c.body)
        jobs = jobs.where(in_list(held.c.mail_id, ids, transaction.dialect))
        for row in await transaction.rows(jobs):
            _carry(found, row.mail_id, bytes(row.body))
    return found


def _carry(found: Accounts, mail_id: str, body: bytes) -> None:
    try:
        job = _jobs.decode(body)
    except msgspec.MsgspecError:
        found.unread.add(mail_id)
        return
    match job:
        case FilterJob() | DeliveryJob():
            ns = {recipient.n for recipient in job.header.envelope.recipients}
        case StorageJob():
            ns = {n for target in job.targets for n in target.recipients}
        case RelayJob():
            ns = set(job.recipients)
        case LearnJob():
            ns = set()
    found.carried.update((mail_id, n) for n in ns)


async def caused(transaction: Transaction, ids: Sequence[str]) -> set[str]:
    """Those of these messages that were sent because of another one: an effect names them."""
    query = select(effect.c.child).where(in_list(effect.c.child, ids, transaction.dialect))
    return {row.child for row in await transaction.rows(query)}


async def planned_to_leave(transaction: Transaction, ids: Sequence[str]) -> set[Unit]:
    """The recipients that the plans of these messages give to relay."""
    query = select(plan.c.mail_id, plan.c.targets)
    query = query.where(in_list(plan.c.mail_id, ids, transaction.dialect))
    return {
        (row.mail_id, n)
        for row in await transaction.rows(query)
        for job in decode_plan(row.targets).relays
        for n in job.recipients
    }
