"""What the sweeper puts again, and what it leaves to whoever has it, on both dialects."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Table, delete

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobRef, BlobStore
from libs.common.db import Database
from libs.common.db.schema import effect, outbox, outcome, parked, plan, watermark
from libs.common.jobs import (
    Envelope,
    FilterJob,
    LearnJob,
    Origin,
    Plan,
    Recipient,
    RecordHeader,
    RelayJob,
    StorageJob,
    Target,
    decode,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.queue import open_queue
from libs.common.queue.protocol import Queue
from libs.common.trace import accounted
from services.storage.settings import StorageSettings
from services.storage.sweeper import Sweeper

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Mail:
    """A durable record."""

    header: RecordHeader
    ref: BlobRef

    @property
    def mail_id(self) -> str:
        return self.header.mail_id


@dataclass(slots=True)
class World:
    """The stores and one sweeper, whose clock runs ahead."""

    database: Database
    queue: Queue
    blobs: BlobStore
    sweeper: Sweeper

    async def record(self, count: int = 1, origin: Origin = Origin.SMTP) -> Mail:
        recipients = tuple(Recipient(n, f"r{n}@example.test") for n in range(count))
        header = RecordHeader(new_mail_id(), time.time(), Envelope("", recipients), origin)
        ref = await self.blobs.put(encode_header(header), b"a\r\n", key=header.mail_id)
        return Mail(header, ref)

    async def sweep(self, hours: float = 4) -> int:
        return await self.sweeper.sweep(time.time() + hours * HOUR)

    async def taken(self) -> list[str]:
        """The messages whose jobs are on filter's queue, which is empty then."""
        consumer, found = await self.queue.consume("filter", 10), []
        while (await self.queue.depth("filter")).jobs:
            for lease in await consumer.take(10):
                found.append(decode(lease.body, FilterJob).header.mail_id)
                await lease.ack()
        await consumer.close()
        return found

    async def end(self, mail: Mail, *ns: int) -> None:
        row = {"mail_id": mail.mail_id, "recipient": "", "state": "delivered", "at": 1.0}
        async with self.database.transaction() as transaction:
            await transaction.insert(outcome, [{**row, "n": n} for n in ns])

    async def park(self, mail: Mail, body: bytes) -> None:
        row = {"queue": "x", "mail_id": mail.mail_id, "body": body, "reason": "", "parked_at": 1.0}
        async with self.database.transaction() as transaction:
            await transaction.insert(parked, [row])

    async def name(self, child: Mail) -> None:
        row = {"mail_id": new_mail_id(), "n": 0, "kind": "dsn_fail", "child": child.mail_id}
        async with self.database.transaction() as transaction:
            await transaction.insert(effect, [{**row, "at": 1.0}])


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    blobs = open_blobstore(f"file:{tmp_path}/blobs")
    settings: StorageSettings = StorageSettings.load()
    yield World(database, queue, blobs, Sweeper(database, queue, blobs, settings))
    await queue.close()
    await blobs.close()


async def test_a_dsn_whose_job_a_queue_lost_is_put_again_once_a_row_names_it(world: World) -> None:
    """Its outbox row is gone with the put; with all queues deleted then, the effect remains."""
    child = await world.record(origin=Origin.DSN)
    await world.name(child)

    assert await world.sweep() == 1

    assert await world.taken() == [child.mail_id]
    await world.end(child, 0)
    assert await world.sweep(6) == 0


@pytest.mark.parametrize("origin", [Origin.DSN, Origin.CHILD, Origin.IMAP])
async def test_a_record_of_ours_that_no_row_names_is_never_sent(
    world: World, origin: Origin
) -> None:
    await world.record(origin=origin)

    assert await world.sweep() == 0

    assert await world.taken() == []


async def test_an_effect_that_comes_late_is_found_although_its_hour_was_looked_at(
    world: World,
) -> None:
    """The record is stored before the row that names it; the database may be away in between."""
    child = await world.record(origin=Origin.DSN)
    assert await world.sweep(4) == 0
    await world.name(child)

    assert await world.sweep(6) == 1


def storage_job(mail: Mail, *ns: int) -> bytes:
    return encode(StorageJob(mail.mail_id, 1.0, 1, (Target(1, ns),)))


def relay_job(mail: Mail, *ns: int) -> RelayJob:
    return RelayJob(mail.ref, mail.header, 1, "other.test", ns)


@pytest.mark.parametrize("kind", ["storage", "relay"])
async def test_a_parked_job_accounts_for_the_recipients_that_it_names_only(
    world: World, kind: str
) -> None:
    mail = await world.record(3)
    body = storage_job(mail, 0, 2) if kind == "storage" else encode(relay_job(mail, 0, 2))
    await world.park(mail, body)

    assert await world.sweep() == 1
    assert await world.taken() == [mail.mail_id]

    await world.end(mail, 1)
    assert await world.sweep(6) == 0


async def test_what_rows_say_of_each_recipient(world: World) -> None:
    mail, strange = await world.record(2), await world.record(1)
    await world.end(mail, 0)
    lesson = encode(LearnJob(mail.mail_id, 1, True))
    await world.park(mail, lesson)
    await world.park(strange, b'{"type":"of the next version","mail_id":"x"}')

    async with world.database.reading() as transaction:
        found = await accounted(transaction, [mail.mail_id, strange.mail_id])

    assert found.have(mail.mail_id, 0)
    assert not found.have(mail.mail_id, 1)
    assert found.have(strange.mail_id, 0)
    assert found.mail_ids() == {mail.mail_id, strange.mail_id}


@pytest.mark.parametrize("table", [parked, outbox])
async def test_mail_whose_row_is_dropped_long_after_its_hour_is_put_again(
    world: World, table: Table
) -> None:
    mail = await world.record()
    body = encode(FilterJob(mail.ref, mail.header))
    row = {"queue": "filter", "mail_id": mail.mail_id, "body": body}
    more = {"reason": "", "parked_at": 1.0} if table is parked else {"key": "k", "created_at": 1.0}
    async with world.database.transaction() as transaction:
        await transaction.insert(table, [{**row, **more}])
    assert await world.sweep(4) == 0

    async with world.database.transaction() as transaction:
        await transaction.execute(delete(table))

    assert await world.sweep(6) == 1


async def test_what_waits_for_relay_is_not_put_again_and_holds_up_no_other_mail(
    world: World,
) -> None:
    """During an outage of relay its queue grows; what is for others is swept all the same."""
    leaves, stays = await world.record(2), await world.record(1)
    targets = encode(Plan(None, (relay_job(leaves, 0),)))
    planned = {"mail_id": leaves.mail_id, "targets": targets, "created_at": 1.0}
    async with world.database.transaction() as transaction:
        await transaction.insert(plan, [planned])
    await world.end(leaves, 1)
    await world.queue.put("relay", [encode(relay_job(leaves, 0))])

    assert await world.sweep() == 1
    assert await world.taken() == [stays.mail_id]

    # Relay took what is newer, and has no row of this one: its queue has it no more.
    later = {"queue": "relay", "received_at": time.time() + HOUR}
    async with world.database.transaction() as transaction:
        await transaction.insert(watermark, [later])
    await world.end(stays, 0)
    assert await world.sweep(5) == 1
    assert await world.taken() == [leaves.mail_id]
