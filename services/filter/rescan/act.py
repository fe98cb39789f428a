"""Doing what a second look asks for: moves, findings, trace and progress in one transaction.

So a message is moved once however often a step is begun: a process that is killed leaves all of a
step undone, or all of it done with the cursor behind it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from libs.common.admin.release import put_in_place
from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import (
    account,
    held_copy,
    outcome,
    plan,
    quarantine,
    rescan,
    rescan_finding,
)
from libs.common.jobs import Verdict, decode_plan
from libs.common.mailstore import folders
from libs.common.mailstore.append import lock_accounts
from libs.common.mailstore.change import move
from libs.common.mailstore.held import copies, hold
from libs.common.runtime.failpoint import failpoint
from libs.common.trace import TraceRow, write_trace
from services.filter.rescan.decide import BACK, JUNK, QUARANTINED, Step, decide
from services.filter.rescan.run import Run, advance
from services.filter.verdict import Conclusion


@dataclass(frozen=True, slots=True)
class Judged:
    """A message with what the engines say of it now; None: they failed on it."""

    row: Any
    conclusion: Conclusion | None


Place = tuple[str, int]
"""(mail_id, account)."""


async def act(transaction: Transaction, run: Run, owner: str, judged: Sequence[Judged]) -> set[int]:
    """Do all that follows; ids of the mailboxes that changed.  `RunLost` when it is not ours."""
    now = time.time()
    by_id = {item.row.mail_id: item for item in judged if item.conclusion is not None}
    found = await _steps(transaction, run, by_id)
    held = await _held(transaction, run, by_id)
    if (found or held) and not run.dry_run:
        await lock_accounts(transaction, [where for _, where in [*found, *held]])
        # Again, for owners may have moved mail until now.
        found = await _steps(transaction, run, by_id)
        held = await _held(transaction, run, by_id)
    actions = {place: step.action for place, step in found.items()} | dict.fromkeys(held, BACK)
    tally = {name: list(actions.values()).count(name) for name in (JUNK, QUARANTINED, BACK)}
    counts = {**tally, "seen": len(judged), "failed": len(judged) - len(by_id)}
    await advance(transaction, run, owner, now, judged[-1].row.mail_id, counts)
    await transaction.insert(
        rescan_finding, [_finding(run, by_id, *one) for one in actions.items()]
    )
    if run.dry_run:
        return set()
    changed = await _do(transaction, found, by_id, run.reason)
    changed |= await _put_back(transaction, held, by_id, run.reason)
    await failpoint("rescan.moved")
    return changed


def _finding(run: Run, by_id: Mapping[str, Judged], place: Place, action: str) -> dict[str, Any]:
    reason = _text(by_id[place[0]])
    where = {"rescan_id": run.id, "mail_id": place[0], "account_id": place[1]}
    return {**where, "action": action, "reason": reason, "at": time.time()}


def _text(item: Judged) -> str:
    return item.conclusion.text[:500] if item.conclusion else ""


async def _steps(
    transaction: Transaction, run: Run, by_id: Mapping[str, Judged]
) -> dict[Place, Step]:
    by_place: dict[Place, list[Any]] = defaultdict(list)
    for row in await copies(transaction, sorted(by_id)):
        by_place[row.mail_id, row.account_id].append(row)
    await _keep_tenant(transaction, run, by_place)
    before = await _before(transaction, by_place)
    steps = {}
    for place, rows in by_place.items():
        item = by_id[place[0]]
        assert item.conclusion is not None
        last = before.get(place, item.row.verdict)
        if step := decide(item.conclusion, last, item.row.verdict_text, rows):
            steps[place] = step
    return steps


async def _keep_tenant(transaction: Transaction, run: Run, by_place: dict[Place, Any]) -> None:
    """Copies of other tenants, who may have the same message, are none of this run."""
    if run.tenant_id is None or not by_place:
        return
    theirs = in_list(account.c.id, sorted({a for _, a in by_place}), transaction.dialect)
    query = select(account.c.id).where(theirs, account.c.tenant_id == run.tenant_id)
    mine = {row.id for row in await transaction.rows(query)}
    for place in [place for place in by_place if place[1] not in mine]:
        del by_place[place]


async def _before(transaction: Transaction, places: Iterable[Place]) -> dict[Place, str]:
    """What re-scans last did to these copies."""
    ids = sorted({mail_id for mail_id, _ in places})
    query = select(rescan_finding.c.mail_id, rescan_finding.c.account_id, rescan_finding.c.action)
    query = query.join(rescan, rescan.c.id == rescan_finding.c.rescan_id)
    query = query.where(
        in_list(rescan_finding.c.mail_id, ids, transaction.dialect), rescan.c.dry_run.is_(False)
    )
    rows = await transaction.rows(query.order_by(rescan_finding.c.at))
    return {(row.mail_id, row.account_id): row.action for row in rows}


async def _held(
    transaction: Transaction, run: Run, by_id: Mapping[str, Judged]
) -> dict[Place, int]:
    """(mail_id, account) -> n of what a re-scan holds and nothing speaks against any more."""
    fine = [
        mail_id
        for mail_id, item in by_id.items()
        if item.conclusion and item.conclusion.verdict in (Verdict.ACCEPT, Verdict.JUNK)
    ]
    query = select(held_copy.c.mail_id, held_copy.c.account_id, held_copy.c.n).join(
        quarantine,
        (quarantine.c.mail_id == held_copy.c.mail_id) & (quarantine.c.n == held_copy.c.n),
    )
    query = query.where(in_list(held_copy.c.mail_id, sorted(fine), transaction.dialect))
    rows = await transaction.rows(query.where(quarantine.c.state == "held"))
    found = {(row.mail_id, row.account_id): row.n for row in rows}
    await _keep_tenant(transaction, run, found)
    return found


async def _do(
    transaction: Transaction, steps: Mapping[Place, Step], by_id: Mapping[str, Judged], why: str
) -> set[int]:
    changed: set[int] = set()
    units = await _units(transaction, steps)
    traces = []
    for place, step in sorted(steps.items(), key=lambda item: item[0]):
        mail_id, owner = place
        n, recipient = units[place]
        text = f"{_text(by_id[mail_id])} ({why})"
        changed |= {row.mailbox_id for row in step.rows}
        if step.action == QUARANTINED:
            await _quarantine(transaction, place, units[place], step, _text(by_id[mail_id]))
        else:
            use, name = ("\\Junk", "Junk") if step.action == JUNK else ("", "INBOX")
            to = await _target(transaction, owner, use, name)
            changed.add(to)
            for source in sorted({row.mailbox_id for row in step.rows}):
                uids = [row.uid for row in step.rows if row.mailbox_id == source]
                await move(transaction, owner, source, uids, to)
        traces.append(TraceRow(mail_id, "rescan", step.action, n, recipient, text))
    await write_trace(transaction, traces)
    return changed


async def _target(transaction: Transaction, owner: int, use: str, name: str) -> int:
    for box in await folders.list_mailboxes(transaction, owner):
        if (use and box.special_use == use) or box.name == name:
            return box.id
    return (await folders.create(transaction, owner, name, use)).id


async def _quarantine(
    transaction: Transaction, place: Place, unit: tuple[int, str], step: Step, reason: str
) -> None:
    (mail_id, owner), (n, recipient), now = place, unit, time.time()
    await hold(transaction, n, step.rows)
    query = select(account.c.tenant_id).where(account.c.id == owner)
    row = {"mail_id": mail_id, "n": n, "recipient": recipient, "reason": reason, "created_at": now}
    row["tenant_id"] = await transaction.scalar(query)
    await transaction.insert(quarantine, [row], ignore=True)
    await transaction.execute(
        update(outcome)
        .where(outcome.c.mail_id == mail_id, outcome.c.n == n)
        .values(state="quarantined", detail=reason, at=now)
    )


async def _put_back(
    transaction: Transaction, held: Mapping[Place, int], by_id: Mapping[str, Judged], why: str
) -> set[int]:
    changed: set[int] = set()
    for mail_id, n in sorted({(mail_id, n) for (mail_id, _), n in held.items()}):
        query = select(quarantine).where(quarantine.c.mail_id == mail_id, quarantine.c.n == n)
        row = await transaction.one_or_none(query)
        changed |= await put_in_place(transaction, row, f"{_text(by_id[mail_id])} ({why})")
    return changed


async def _units(transaction: Transaction, places: Iterable[Place]) -> dict[Place, tuple[int, str]]:
    """Which recipient a copy was for: as planned; else the one with the account's address."""
    places = list(places)
    ids = sorted({mail_id for mail_id, _ in places})
    found = await _planned(transaction, ids)
    columns = (outcome.c.mail_id, outcome.c.n, outcome.c.recipient)
    query = select(*columns).where(in_list(outcome.c.mail_id, ids, transaction.dialect))
    ends = await transaction.rows(query.order_by(outcome.c.n))
    owned = in_list(account.c.id, sorted({a for _, a in places}), transaction.dialect)
    people = await transaction.rows(select(account.c.id, account.c.address).where(owned))
    addresses = {row.id: row.address for row in people}
    for mail_id, owner in places:
        address = addresses[owner]
        of_message = [(row.n, row.recipient) for row in ends if row.mail_id == mail_id]
        same = [unit for unit in of_message if unit[1].lower() == address]
        usual = [*same, *of_message, (0, address)][0]
        found.setdefault((mail_id, owner), usual)
    return found


async def _planned(transaction: Transaction, ids: Sequence[str]) -> dict[Place, tuple[int, str]]:
    query = select(plan.c.mail_id, plan.c.targets).where(
        in_list(plan.c.mail_id, ids, transaction.dialect)
    )
    found = {}
    for row in await transaction.rows(query):
        job = decode_plan(row.targets).storage
        addresses = dict(job.addresses) if job else {}
        for target in job.targets if job else ():
            if target.recipients and target.recipients[0] in addresses:
                n = target.recipients[0]
                found[row.mail_id, target.account] = (n, addresses[n])
    return found
