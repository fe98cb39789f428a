"""Faults that nobody thought of: what is stored is answered 250, and routines go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from libs.common.blobstore import open_blobstore
from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.schema import trace
from libs.common.jobs import FilterJob, decode, new_mail_id
from libs.common.queue import open_queue
from libs.common.trace import TraceRow, TraceWriter, write_trace
from services.ingress.commit import Commit
from services.ingress.settings import IngressSettings
from services.ingress.unpublished import Unpublished
from services.ingress.verdicts import Verdicts
from tests.integration.ingress.test_unpublished import NOWHERE, header

CONTENT = b"Subject: x\r\n\r\n"


async def written(database: Database) -> list[tuple[str, str]]:
    async with database.reading() as transaction:
        rows = await transaction.rows(select(trace.c.recipient, trace.c.why))
    return [(row.recipient, row.why) for row in rows]


async def test_a_nul_of_a_stranger_does_not_end_the_trace(database: Database) -> None:
    writer = TraceWriter(database)
    writer.add(TraceRow(new_mail_id(), "ingress", "refused", -1, "a\0b@x", "no\0pe"))
    await writer.close()

    assert await written(database) == [("ab@x", "nope")]


async def test_a_row_that_cannot_be_written_does_not_stop_the_later_ones(
    database: Database,
) -> None:
    writer = TraceWriter(database)
    writer.add(TraceRow(None, "ingress", "refused"))  # type: ignore[arg-type]
    await writer._flush()
    writer.add(TraceRow(new_mail_id(), "ingress", "refused", -1, "later@x"))
    await writer.close()

    assert await written(database) == [("later@x", "")]


async def test_a_database_that_only_reads_is_away(database: Database) -> None:
    """As a replica is, before it is promoted: to be waited for, and no job's fault."""
    sqlite = database.dialect == "sqlite"

    async def write() -> None:
        async with database.transaction() as transaction:
            await transaction.execute(
                text("PRAGMA query_only = ON" if sqlite else "SET TRANSACTION READ ONLY")
            )
            await write_trace(transaction, [TraceRow(new_mail_id(), "ingress", "refused")])

    with pytest.raises(DatabaseUnavailable):
        await write()


@pytest.fixture
async def commit(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Commit, Unpublished]]:
    """Nobody answers as the broker; there is a database."""
    blobs = open_blobstore(f"file://{tmp_path}/blobs")
    queue = open_queue(f"amqp://guest:guest@{NOWHERE}/%2F")
    settings = IngressSettings(publish_seconds=0.3, verdict_seconds=0)
    unpublished = Unpublished(blobs, queue, database, settings)
    yield (
        Commit(blobs, queue, database, Verdicts(queue, database), unpublished, settings),
        unpublished,
    )
    await queue.close()
    await blobs.close()


async def test_what_is_stored_is_answered_250_whatever_the_database_says(
    commit: tuple[Commit, Unpublished], database: Database
) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("DROP TABLE outbox"))

    reply = await commit[0].run(header(), CONTENT)

    assert reply.code == 250
    assert len(commit[1]._jobs) == 1


async def test_a_process_that_ends_waits_for_no_verdict(tmp_path: Path, database: Database) -> None:
    blobs = open_blobstore(f"file://{tmp_path}/blobs")
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    settings = IngressSettings(verdict_seconds=20)
    verdicts = Verdicts(queue, database)
    await verdicts.start()
    unpublished = Unpublished(blobs, queue, database, settings)
    commit = Commit(blobs, queue, database, verdicts, unpublished, settings)
    waiting = asyncio.create_task(commit.run(header(), CONTENT))
    consumer = await queue.consume("filter", 10)
    (lease,) = await consumer.take(1)
    assert decode(lease.body, FilterJob).reply_to == verdicts.address
    assert not waiting.done()

    verdicts.give_up()

    async with asyncio.timeout(10):
        assert (await waiting).code == 250
        assert (await commit.run(header(), CONTENT)).code == 250
    await verdicts.close()
    await consumer.close()
    await queue.close()
    await blobs.close()
