"""The commit: many storage jobs, one transaction, one statement for each table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import delivery_log, mailbox, outcome
from libs.common.jobs import StorageJob, Target
from libs.common.mailstore import MailStoreError, folders, from_names
from libs.common.mailstore.append import Addition, add, lock_accounts
from libs.common.mailstore.folders import canonical_name
from libs.common.runtime.log import get_logger
from libs.common.trace import TraceRow, write_trace

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """One copy: a job's target and the mailbox row that it goes to."""

    job: StorageJob
    target: Target
    mailbox_id: int
    mailbox: str


class AccountGone(Exception):
    """A target's account has no mailbox at all any more."""


async def commit(transaction: Transaction, jobs: Sequence[StorageJob]) -> set[int]:
    """Deliver every job once, whatever was delivered of it before; ids of changed mailboxes."""
    new = await _first_time(transaction, jobs)
    accounts = sorted({account for _, account in new})
    await lock_accounts(transaction, accounts)
    placed = await _place(transaction, jobs, new)
    uids = await add(transaction, [_addition(p) for p in placed]) if placed else []
    await _finish(transaction, jobs, placed, uids)
    return {p.mailbox_id for p in placed}


async def _first_time(transaction: Transaction, jobs: Sequence[StorageJob]) -> set[tuple[str, int]]:
    """Those (mail_id, account) that were never delivered: the log decides, not the mailbox.

    A message that its owner expunged must not come back when its job comes twice (I2).
    """
    now = time.time()
    # Sorted, so that two batches with the same keys wait for each other in one order.
    keys = sorted({(job.mail_id, target.account) for job in jobs for target in job.targets})
    rows = [{"mail_id": m, "account_id": a, "delivered_at": now} for m, a in keys]
    fresh = await transaction.insert_new(delivery_log, rows, ("mail_id", "account_id"))
    return {(row["mail_id"], row["account_id"]) for row in fresh}


async def _place(
    transaction: Transaction, jobs: Sequence[StorageJob], new: set[tuple[str, int]]
) -> list[Placed]:
    boxes = await _mailboxes(transaction, jobs, {account for _, account in new})
    placed, seen = [], set()
    for job in jobs:
        for target in job.targets:
            # The same job may stand twice in a batch, and two recipients may mean one mailbox.
            key = (job.mail_id, target.account, canonical_name(target.mailbox))
            if (job.mail_id, target.account) not in new or key in seen:
                continue
            seen.add(key)
            if target.create:
                await _create(transaction, boxes, target)
            name, number = _choose(boxes, target)
            placed.append(Placed(job, target, number, name))
    return placed


async def _mailboxes(
    transaction: Transaction, jobs: Sequence[StorageJob], accounts: set[int]
) -> dict[tuple[int, str], int]:
    names = {canonical_name(target.mailbox) for job in jobs for target in job.targets} | {"INBOX"}
    query = select(mailbox.c.account_id, mailbox.c.name, mailbox.c.id).where(
        in_list(mailbox.c.account_id, sorted(accounts), transaction.dialect),
        in_list(mailbox.c.name, sorted(names), transaction.dialect),
    )
    return {(row.account_id, row.name): row.id for row in await transaction.rows(query)}


async def _create(
    transaction: Transaction, boxes: dict[tuple[int, str], int], target: Target
) -> None:
    """Make the target's mailbox; a name that cannot be one leaves the mail to INBOX."""
    name = canonical_name(target.mailbox)
    if (target.account, name) in boxes:
        return
    try:
        made = await folders.create(transaction, target.account, name, target.special_use)
    except MailStoreError as error:
        log.info("no mailbox was made", account=target.account, mailbox=name, why=error.text)
    else:
        boxes[target.account, name] = made.id


def _choose(boxes: dict[tuple[int, str], int], target: Target) -> tuple[str, int]:
    """The target's mailbox, or INBOX when that is gone: mail is never lost for a folder."""
    for name in (canonical_name(target.mailbox), "INBOX"):
        if (number := boxes.get((target.account, name))) is not None:
            return name, number
    raise AccountGone(f"account {target.account} has no INBOX; was it deleted?")


def _addition(placed: Placed) -> Addition:
    job, target = placed.job, placed.target
    flags, keywords = from_names(target.flags)
    return Addition(
        target.account,
        placed.mailbox_id,
        job.mail_id,
        flags,
        keywords,
        job.received_at,
        job.size + len(target.prefix.encode("latin-1", "replace")),
        target.prefix,
    )


async def _finish(
    transaction: Transaction,
    jobs: Sequence[StorageJob],
    placed: Sequence[Placed],
    uids: Sequence[int],
) -> None:
    """The terminal state of every recipient, and the trace of every copy."""
    now = time.time()
    addresses = {(job.mail_id, n): address for job in jobs for n, address in job.addresses}
    done = {
        (job.mail_id, n): "" for job in jobs for target in job.targets for n in target.recipients
    }
    traces = []
    for p, uid in zip(placed, uids, strict=True):
        why = f"{p.mailbox} UID {uid}"
        took = max(0.0, now - p.job.received_at)
        for n in p.target.recipients:
            address = addresses.get((p.job.mail_id, n), "")
            done[p.job.mail_id, n] = why
            traces.append(
                TraceRow(p.job.mail_id, "storage", "delivered", n, address, why, now, took)
            )
    await transaction.insert(
        outcome,
        [
            {
                "mail_id": mail_id,
                "n": n,
                "recipient": addresses.get((mail_id, n), ""),
                "state": "delivered",
                "detail": why,
                "at": now,
            }
            for (mail_id, n), why in sorted(done.items())
        ],
        ignore=True,
    )
    await write_trace(transaction, traces)
