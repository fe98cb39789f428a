"""Verdicts on both dialects: the first writer wins."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import func, select

from libs.common.blobstore.protocol import BlobRef
from libs.common.db import Database
from libs.common.db.schema import message, outcome, quarantine, trace
from libs.common.jobs import Envelope, FilterJob, Recipient, RecordHeader, Verdict, new_mail_id
from libs.common.mailstore.messages import message_row
from libs.protocols.message.summary import summarise
from services.filter.examine import Examined
from services.filter.record import known, record


def examined(job: FilterJob, verdict: Verdict) -> Examined:
    content = b"Subject: x\0y\r\n\r\ntext \0\xff\r\n"
    row = message_row(
        job.header,
        job.blob,
        len(content),
        b"0" * 32,
        summarise(content),
        verdict=verdict,
        verdict_text=f"because: {verdict}",
    )
    return Examined(job, row, len(content))


def job() -> FilterJob:
    recipients = tuple(Recipient(n, f"r{n}@example.test") for n in range(2))
    header = RecordHeader(new_mail_id(), time.time(), Envelope("a@other.test", recipients))
    return FilterJob(BlobRef("mail/x", 0, 10), header)


async def test_two_filters_that_disagree_end_with_one_verdict(database: Database) -> None:
    jobs = [job() for _ in range(10)]

    async def one(verdict: Verdict) -> list[str]:
        items = [examined(item, verdict) for item in jobs]
        decided = await database.retry(lambda tx: record(tx, items, 0.1))
        return [item.verdict for item in decided]

    first, second = await asyncio.gather(one(Verdict.ACCEPT), one(Verdict.REJECT))

    assert first == second
    async with database.reading() as transaction:
        held = await transaction.scalar(select(func.count()).select_from(quarantine))
        assert held == (20 if first[0] == Verdict.REJECT else 0)


async def test_what_is_rejected_is_held_for_each_recipient_in_one_commit(
    database: Database,
) -> None:
    item = job()

    for _ in range(2):
        await database.retry(lambda tx: record(tx, [examined(item, Verdict.REJECT)], 0.1))

    async with database.reading() as transaction:
        states = await transaction.rows(select(outcome.c.n, outcome.c.state))
        assert sorted(tuple(row) for row in states) == [(0, "quarantined"), (1, "quarantined")]
        assert await transaction.scalar(select(func.count()).select_from(message)) == 1
        assert await transaction.scalar(select(func.count()).select_from(trace)) == 4
        (stored,) = await known(transaction, [item, job()])
    assert (stored.verdict, stored.text) == (Verdict.REJECT, "because: reject")
    assert stored.held
