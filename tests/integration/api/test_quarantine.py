"""Letting held mail go: once, by whom it may be, with its audit; on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from libs.common.admin.release import expire_held, settle_released
from libs.common.db.schema import audit, outbox, outcome, plan, quarantine, trace
from libs.common.jobs import DeliveryJob, LearnJob, decode
from libs.common.jobs.verdict import MALWARE
from tests.integration.api.world import World, hold_mail

TO = ("anna@ours.test", "boss@ours.test")


async def rows(world: World, table: Any, *where: Any) -> list[Any]:
    async with world.platform.database.reading() as transaction:
        return list(await transaction.rows(select(table).where(*where)))


async def jobs(world: World, mail_id: str) -> list[DeliveryJob]:
    found = await rows(world, outbox, outbox.c.mail_id == mail_id)
    assert {row.queue for row in found} <= {"delivery"}
    return [decode(row.body, DeliveryJob) for row in found]


async def release(world: World, mail_id: str, role: str = "tenant-admin", **body: Any) -> Any:
    async with world.client(world.ours.keys[role]) as client:
        return await client.post(f"/v1/quarantine/{mail_id}/release", json=body)


async def test_each_recipient_is_released_once(world: World) -> None:
    mail_id = await hold_mail(world.platform, *TO)

    first = await release(world, mail_id, recipients=[1])
    again = await release(world, mail_id, recipients=[1])
    rest = await release(world, mail_id)
    over = await release(world, mail_id)

    assert first.json() == [{"mail_id": mail_id, "n": 1, "recipient": TO[1]}]
    assert [item["n"] for item in rest.json()] == [0]
    assert again.status_code == over.status_code == 409
    put = await jobs(world, mail_id)
    assert [[r.address for r in job.header.envelope.recipients] for job in put] == [
        [TO[1]],
        [TO[0]],
    ]
    assert len({job.plan_id for job in put} | {mail_id}) == 3
    # Nothing says of them any more that they ended in quarantine.
    assert not await rows(world, outcome, outcome.c.mail_id == mail_id)
    noted = await rows(world, audit, audit.c.action == "quarantine.release")
    assert [row.object for row in noted] == [f"mail:{mail_id}"] * 2
    steps = await rows(world, trace, trace.c.mail_id == mail_id, trace.c.what == "released")
    assert [row.recipient for row in steps] == [TO[1], TO[0]]


async def test_an_owner_releases_his_own_and_no_malware(world: World) -> None:
    mine = await hold_mail(world.platform, *TO)
    virus = await hold_mail(world.platform, TO[0], reason=MALWARE)

    done = await release(world, mine, "account")
    others = await release(world, mine, "account", recipients=[1])
    refused = await release(world, virus, "account")
    by_admin = await release(world, virus, "domain-admin")

    assert [item["n"] for item in done.json()] == [0]
    assert others.status_code == 404
    assert refused.status_code == 403
    assert "malware" in refused.text
    assert by_admin.status_code == 200


async def test_release_and_learn(world: World) -> None:
    mail_id = await hold_mail(world.platform, *TO)

    await release(world, mail_id, recipients=[0], learn=True)

    (row,) = await rows(world, outbox, outbox.c.queue == "learn")
    lesson = decode(row.body, LearnJob)
    assert (lesson.mail_id, lesson.spam) == (mail_id, False)


async def test_what_is_deleted_is_discarded_and_gone(world: World) -> None:
    mail_id = await hold_mail(world.platform, *TO)
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        done = await client.delete(f"/v1/quarantine/{mail_id}/0")
        again = await client.delete(f"/v1/quarantine/{mail_id}/0")

    assert (done.status_code, again.status_code) == (204, 404)
    states = {row.n: row.state for row in await rows(world, outcome, outcome.c.mail_id == mail_id)}
    assert states == {0: "discarded", 1: "quarantined"}
    assert [r.n for r in await rows(world, quarantine, quarantine.c.mail_id == mail_id)] == [1]


async def test_what_nobody_decides_on_expires(world: World) -> None:
    database = world.platform.database
    old, new = await hold_mail(world.platform, *TO), await hold_mail(world.platform, *TO)
    async with database.transaction() as transaction:
        late = update(quarantine).where(quarantine.c.mail_id == old)
        await transaction.execute(late.values(created_at=time.time() - 40 * 86400))

    assert await expire_held(database, time.time() - 30 * 86400) == 2
    assert await expire_held(database, time.time() - 30 * 86400) == 0

    states = [row.state for row in await rows(world, outcome, outcome.c.mail_id == old)]
    assert states == ["discarded"] * 2
    assert len(await rows(world, quarantine, quarantine.c.mail_id == new)) == 2


async def test_a_release_outlives_the_loss_of_its_queue_and_ends_with_the_outcome(
    world: World,
) -> None:
    database, blobs = world.platform.database, world.platform.blobs
    mail_id = await hold_mail(world.platform, TO[0])
    await release(world, mail_id)
    (job,) = await jobs(world, mail_id)
    assert await settle_released(database, blobs) == 0
    async with database.transaction() as transaction:
        await transaction.execute(delete(outbox))

    assert await settle_released(database, blobs) == 1
    assert await jobs(world, mail_id) == [job]

    unit = {"mail_id": mail_id, "n": 0, "recipient": TO[0], "at": time.time()}
    async with database.transaction() as transaction:
        await transaction.execute(delete(outbox))
        await transaction.insert(outcome, [{**unit, "state": "delivered"}])
    assert await settle_released(database, blobs) == 0
    assert not await rows(world, quarantine, quarantine.c.mail_id == mail_id)


async def test_what_is_held_again_on_the_way_can_be_released_again(world: World) -> None:
    database = world.platform.database
    mail_id = await hold_mail(world.platform, TO[0])
    await release(world, mail_id)
    (job,) = await jobs(world, mail_id)
    unit = {"mail_id": mail_id, "n": 0, "recipient": TO[0], "at": time.time()}
    async with database.transaction() as transaction:
        await transaction.execute(delete(outbox))
        await transaction.insert(outcome, [{**unit, "state": "quarantined"}])
        done = {"mail_id": job.plan_id, "targets": b"{}", "created_at": time.time()}
        await transaction.insert(plan, [done])
    await settle_released(database, world.platform.blobs)

    assert (await release(world, mail_id)).status_code == 200
    assert not await rows(world, plan, plan.c.mail_id == job.plan_id)


@pytest.mark.parametrize("role", ["support"])
async def test_who_only_looks_does_not_decide(world: World, role: str) -> None:
    mail_id = await hold_mail(world.platform, *TO)

    assert (await release(world, mail_id, role)).status_code == 403
