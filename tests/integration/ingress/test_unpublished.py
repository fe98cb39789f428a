"""The bound on mail that is stored without a job (architecture, rule 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, open_database
from libs.common.db.schema import outcome
from libs.common.jobs import (
    Envelope,
    FilterJob,
    Recipient,
    RecordHeader,
    decode,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.queue import open_queue
from libs.common.queue.protocol import Queue
from libs.common.trace import note_watermark
from services.ingress import unpublished as module
from services.ingress.commit import Commit
from services.ingress.settings import IngressSettings
from services.ingress.unpublished import Unpublished
from services.ingress.verdicts import Verdicts

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[BlobStore]:
    store = open_blobstore(f"file://{tmp_path}/blobs")
    yield store
    await store.close()


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    yield queue
    await queue.close()


@pytest.fixture
async def away() -> AsyncIterator[tuple[Queue, Database]]:
    """A broker and a database that nobody answers for."""
    queue = open_queue(f"amqp://guest:guest@{NOWHERE}/%2F")
    database = open_database(f"postgresql://holub:holub@{NOWHERE}/holub")
    yield queue, database
    await queue.close()
    await database.close()


def header(received_at: float | None = None) -> RecordHeader:
    envelope = Envelope("author@elsewhere.test", (Recipient(0, "alice@example.test"),))
    return RecordHeader(new_mail_id(), received_at or time.time(), envelope)


def settings(**values: object) -> IngressSettings:
    return IngressSettings(publish_seconds=0.3, **values)  # type: ignore[arg-type]


async def stored(blobs: BlobStore, *, age: float) -> FilterJob:
    known = header(time.time() - age)
    ref = await blobs.put(encode_header(known), b"Subject: x\r\n\r\n", key=known.mail_id)
    return FilterJob(ref, known)


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_both_away_mail_is_accepted_up_to_the_bound_and_then_451(
    blobs: BlobStore, away: tuple[Queue, Database]
) -> None:
    queue, database = away
    chosen = settings(max_unpublished=2, verdict_seconds=0)
    unpublished = Unpublished(blobs, queue, database, chosen)
    verdicts = Verdicts(queue, database)
    commit = Commit(blobs, queue, database, verdicts, unpublished, chosen)

    replies = [await commit.run(header(), b"Subject: x\r\n\r\n") for _ in range(3)]

    assert [reply.code for reply in replies] == [250, 250, 451]
    assert replies[2].status == "4.3.1"


async def test_what_waits_is_put_when_the_queue_is_back_and_makes_room(
    blobs: BlobStore, queue: Queue, away: tuple[Queue, Database]
) -> None:
    unpublished = Unpublished(blobs, queue, away[1], settings(max_unpublished=2))
    jobs = [await stored(blobs, age=0) for _ in range(2)]
    for job in jobs:
        unpublished.add(job)
    assert unpublished.full

    unpublished.start()
    await until(lambda: not unpublished.full)
    await unpublished.close()

    consumer = await queue.consume("filter", 10)
    leases = await consumer.take(10)
    assert [decode(lease.body, FilterJob) for lease in leases] == jobs
    await consumer.close()


async def test_a_restart_counts_what_no_row_accounts_for(
    blobs: BlobStore, queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RECOUNT_SECONDS", 0.05)
    lost = [await stored(blobs, age=120) for _ in range(2)]
    known = await stored(blobs, age=120)
    await stored(blobs, age=1)  # on its way
    await _settle(database, known)

    unpublished = Unpublished(blobs, queue, database, settings(max_unpublished=2))
    unpublished.start()
    await until(lambda: unpublished.full)

    await _settle(database, lost[0])
    await until(lambda: not unpublished.full)
    await unpublished.close()


@pytest.mark.parametrize(("taken_ago", "counted"), [(None, 0), (600, 0), (10, 2)])
async def test_a_restart_counts_nothing_that_may_wait_in_a_queue(
    blobs: BlobStore, queue: Queue, database: Database, taken_ago: float | None, counted: int
) -> None:
    """A backlog of filter's is no reason to refuse mail; what its watermark has passed is lost."""
    jobs = [await stored(blobs, age=120) for _ in range(2)]
    await queue.put("filter", [encode(job) for job in jobs])
    if taken_ago is not None:
        async with database.transaction() as transaction:
            await note_watermark(transaction, "filter", time.time() - taken_ago)
    unpublished = Unpublished(blobs, queue, database, settings(max_unpublished=2))

    await unpublished.count()

    assert unpublished.full == bool(counted)


async def test_octets_are_bounded_too(
    blobs: BlobStore, queue: Queue, away: tuple[Queue, Database]
) -> None:
    job = await stored(blobs, age=0)
    chosen = settings(max_unpublished_octets=job.blob.length + 1)
    unpublished = Unpublished(blobs, queue, away[1], chosen)

    unpublished.add(job)
    assert not unpublished.full
    unpublished.add(await stored(blobs, age=0))
    assert unpublished.full


async def _settle(database: Database, job: FilterJob) -> None:
    row = {
        "mail_id": job.header.mail_id,
        "n": 0,
        "recipient": "alice@example.test",
        "state": "delivered",
        "detail": "",
        "at": time.time(),
    }
    async with database.transaction() as transaction:
        await transaction.insert(outcome, [row])
