"""Claims and results on both dialects, also by several processes at once."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import select, update

from libs.common.blobstore.protocol import BlobRef
from libs.common.db import Database
from libs.common.db.schema import deferred, outbox, outcome, quarantine
from libs.common.jobs import Envelope, Recipient, RecordHeader, RelayJob, new_mail_id
from services.relay.claim import Unit, claim_due, claim_new, release, renew, still_ours
from services.relay.settle import Report, Settled, settle


def relay_job(recipients: int = 1, domain: str = "other.test") -> RelayJob:
    envelope = Envelope(
        "a@example.test", tuple(Recipient(n, f"r{n}@{domain}") for n in range(recipients))
    )
    header = RecordHeader(new_mail_id(), time.time(), envelope)
    ns = tuple(range(recipients))
    return RelayJob(BlobRef("mail/x", 0, 10), header, 10, domain, ns)


async def test_a_job_becomes_leased_rows_once(database: Database) -> None:
    job = relay_job(3)

    first = await database.retry(lambda tx: claim_new(tx, [job, job], "one", 60))
    second = await database.retry(lambda tx: claim_new(tx, [job], "two", 60))

    (claim,) = first
    assert claim.units == tuple(Unit(job.header.mail_id, n, 1) for n in range(3))
    assert second == []


async def test_recipients_with_an_outcome_are_not_claimed(database: Database) -> None:
    job = relay_job(2)
    unit = Unit(job.header.mail_id, 0, 1)
    await database.retry(lambda tx: claim_new(tx, [job], "one", 60))
    report = Report((Settled(unit, "r0@other.test", "relayed", "250"),), 1)
    await database.retry(lambda tx: settle(tx, "one", [report]))

    assert await database.retry(lambda tx: claim_new(tx, [job], "two", 60)) == []
    async with database.reading() as transaction:
        assert [r.n for r in await transaction.rows(select(deferred.c.n))] == [1]


async def test_many_claimers_share_what_is_due_and_take_nothing_twice(database: Database) -> None:
    jobs = [relay_job(2) for _ in range(40)]
    await database.retry(lambda tx: claim_new(tx, jobs, "dead", -1))

    async def claimer(name: str) -> list[Unit]:
        units: list[Unit] = []
        for _ in range(20):
            claims = await database.retry(lambda tx: claim_due(tx, name, 60, 5))
            units += [unit for claim in claims for unit in claim.units]
        return units

    found = await asyncio.gather(*(claimer(f"process {i}") for i in range(4)))

    units = [unit for some in found for unit in some]
    assert len(units) == len(set(units)) == 80
    assert {unit.attempt for unit in units} == {2}


async def test_rows_of_one_message_and_domain_are_one_claim(database: Database) -> None:
    job = relay_job(3)
    await database.retry(lambda tx: claim_new(tx, [job], "dead", -1))

    (claim,) = await database.retry(lambda tx: claim_due(tx, "one", 60, 10))

    assert claim.job.recipients == (0, 1, 2)
    assert [r.address for r in claim.job.header.envelope.recipients] == [
        "r0@other.test",
        "r1@other.test",
        "r2@other.test",
    ]


async def test_what_another_took_over_is_neither_ours_nor_written(database: Database) -> None:
    job = relay_job(2)
    await database.retry(lambda tx: claim_new(tx, [job], "slept", -1))
    old = [Unit(job.header.mail_id, n, 1) for n in range(2)]
    await database.retry(lambda tx: claim_due(tx, "one", 60, 10))
    results = tuple(Settled(unit, "r", "relayed", "250") for unit in old[:1])
    late = Settled(old[1], "r", "deferred", "451", time.time())

    async with database.reading() as transaction:
        assert await still_ours(transaction, "slept", old) == set()
    written = await database.retry(lambda tx: settle(tx, "slept", [Report((*results, late), 1)]))
    await database.retry(lambda tx: renew(tx, "slept", old, 600))
    await database.retry(lambda tx: release(tx, "slept", old))

    assert written == set()
    async with database.reading() as transaction:
        assert not await transaction.rows(select(outcome))
        rows = await transaction.rows(select(deferred.c.lease_owner, deferred.c.attempts))
    assert [(row.lease_owner, row.attempts) for row in rows] == [("one", 2)] * 2


async def test_renewed_leases_hold_and_released_ones_are_due(database: Database) -> None:
    job = relay_job(2)
    await database.retry(lambda tx: claim_new(tx, [job], "one", -1))
    units = [Unit(job.header.mail_id, n, 1) for n in range(2)]

    await database.retry(lambda tx: renew(tx, "one", units, 60))
    assert await database.retry(lambda tx: claim_due(tx, "two", 60, 10)) == []

    await database.retry(lambda tx: release(tx, "one", units[:1]))
    (claim,) = await database.retry(lambda tx: claim_due(tx, "two", 60, 10))
    assert [unit.n for unit in claim.units] == [0]


async def test_a_report_is_put_once_whatever_comes_twice(database: Database) -> None:
    job = relay_job(2)
    mail_id = job.header.mail_id
    await database.retry(lambda tx: claim_new(tx, [job], "one", 60))
    bounced = tuple(
        Settled(Unit(mail_id, n, 1), f"r{n}", "bounced", "550\0", child="child") for n in range(2)
    )
    report = Report(bounced, 1, dsn=b"job", child="child")

    assert len(await database.retry(lambda tx: settle(tx, "one", [report]))) == 2
    assert await database.retry(lambda tx: settle(tx, "one", [report])) == set()

    async with database.reading() as transaction:
        rows = await transaction.rows(select(outbox.c.key, outbox.c.queue, outbox.c.mail_id))
    assert [tuple(row) for row in rows] == [("dsn:child", "filter", "child")]


async def test_results_of_many_messages_are_one_commit(database: Database) -> None:
    jobs = [relay_job() for _ in range(30)]
    await database.retry(lambda tx: claim_new(tx, jobs, "one", 60))
    states = ("relayed", "quarantined", "deferred")
    reports = [
        Report((Settled(Unit(job.header.mail_id, 0, 1), "r", states[i % 3], "why", 1e12),), 1)
        for i, job in enumerate(jobs)
    ]

    assert len(await database.retry(lambda tx: settle(tx, "one", reports))) == 30

    async with database.reading() as transaction:
        assert len(await transaction.rows(select(outcome))) == 20
        assert len(await transaction.rows(select(quarantine))) == 10
        assert len(await transaction.rows(select(deferred))) == 10


async def test_a_job_that_comes_while_its_outcome_is_written_is_not_sent_twice(
    database: Database,
) -> None:
    """A claim waits for the one who deletes the row, and then sees the outcome."""
    for _ in range(20):
        job = relay_job()
        unit = Unit(job.header.mail_id, 0, 1)
        await database.retry(lambda tx, job=job: claim_new(tx, [job], "one", 60))
        report = Report((Settled(unit, "r", "relayed", "250"),), 1)

        _, again = await asyncio.gather(
            database.retry(lambda tx, report=report: settle(tx, "one", [report])),
            database.retry(lambda tx, job=job: claim_new(tx, [job], "two", 60)),
        )

        assert again == []


async def test_rows_that_are_not_due_wait(database: Database) -> None:
    job = relay_job()
    await database.retry(lambda tx: claim_new(tx, [job], "one", -1))
    async with database.transaction() as transaction:
        await transaction.execute(update(deferred).values(next_attempt_at=time.time() + 60))

    assert await database.retry(lambda tx: claim_due(tx, "two", 60, 10)) == []
