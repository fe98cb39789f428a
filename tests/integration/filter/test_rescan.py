"""Re-scans: the real scanner and the real rspamd look at delivered mail again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from libs.common.accounts.registry import RegistryError, create_accounts, create_domain
from libs.common.admin.principal import local_operator
from libs.common.admin.release import release
from libs.common.admin.rescan import begin_rescan, get_rescan, list_findings, stop_rescan
from libs.common.blobstore import open_blobstore
from libs.common.db import Database
from libs.common.db.schema import (
    account,
    held_copy,
    mailbox_message,
    message,
    outcome,
    quarantine,
    rescan,
    trace,
)
from libs.common.jobs import Client, Envelope, Recipient, RecordHeader, Verdict, new_mail_id
from libs.common.jobs.record import encode_header
from libs.common.jobs.verdict import MALWARE
from libs.common.mailstore import Flag
from libs.common.queue import open_queue
from services.filter.rescan.act import Judged, act
from services.filter.rescan.run import Run, RunLost, claim, finish, upcoming
from services.filter.verdict import Conclusion
from services.platform import Platform
from tests.chaos.failpoints import Failpoints, discover
from tests.conftest import ROOT
from tests.integration.filter.test_filter import environment, filtering, platform
from tests.integration.garbage.world import Mail, World
from tests.servers.clamd import EICAR, Clamd
from tests.servers.process import free_ports
from tests.servers.rspamd import JUNK, PASSWORD, Rspamd

__all__ = ["platform"]
STEPS = [name for name in discover(ROOT) if name.startswith("rescan.")]
VIRUS = Conclusion(Verdict.REJECT, f"{MALWARE}: Eicar")
SPAM = Conclusion(Verdict.JUNK, "message looks like spam (rspamd 7.0)")
FINE = Conclusion(Verdict.ACCEPT, "clamd found nothing")
ME = local_operator("test")


async def open_world(database: Database, tmp_path: Path) -> World:
    url = f"file:{tmp_path}/blobs"
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    await create_domain(database, "example.test")
    (owner,) = await create_accounts(database, ["r0@example.test"], "")
    return World(database, url, open_blobstore(url), queue, owner)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    made = await open_world(database, tmp_path)
    yield made
    await made.blobs.close()
    await made.queue.close()


def settings(folder: Path) -> dict[str, str]:
    (port,) = free_ports(1)
    return {
        "HOLUB_HEALTH_PORT": str(port),
        "HOLUB_DATABASE_URL": f"sqlite:///{folder}/holub.db",
        "HOLUB_QUEUE_URL": f"sqlite:///{folder}/queue.db",
        "HOLUB_BLOB_URL": f"file:{folder}/blobs",
        "HOLUB_FILTER_RESCAN_PER_SECOND": "1000",
    }


async def deliver(platform: Platform, world: World, subject: int, mark: bytes = b"") -> str:
    """In INBOX, seen and with a keyword, as if it came before there was any engine."""
    content = (
        b"From: cousin@other.test\r\nSubject: number %d\r\nMessage-ID: <%d.%d@far.test>\r\n\r\n"
        b"Nine herons stood below the weir, grey and still.\r\n%s\r\n"
    ) % (subject, subject, time.time_ns(), mark)
    envelope = Envelope("cousin@other.test", (Recipient(0, "r0@example.test"),))
    client = Client("192.0.2.66", "host.other.test", "mx.other.test", login="somebody")
    header = RecordHeader(new_mail_id(), time.time(), envelope, listener="mx", client=client)
    ref = await platform.blobs.put(encode_header(header), content, key=header.mail_id)
    mail = Mail(header, ref, content)
    await world.filter(mail)
    await world.deliver(mail)
    (uid,) = (await world.uids())[-1:]
    await world.store.store(await world.box(), [uid], "add", Flag.SEEN, "Mine")
    return header.mail_id


async def subjects(world: World, mailbox: str) -> dict[str, tuple[int, str]]:
    """What is in a mailbox: (flags, keywords) by subject."""
    columns = (message.c.subject, mailbox_message.c.flags, mailbox_message.c.keywords)
    query = select(*columns).join(message, message.c.mail_id == mailbox_message.c.mail_id)
    query = query.where(mailbox_message.c.mailbox_id == await world.box(mailbox))
    async with world.database.reading() as transaction:
        return {subject: (flags, words) for subject, flags, words in await transaction.rows(query)}


async def command(folder: Path, *words: str) -> str:
    """`holub WORDS`, while this process filters."""
    env = {**os.environ, **settings(folder), "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "services.cli.main", *words]
    process = await asyncio.create_subprocess_exec(
        *program, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()


async def test_new_signatures_take_delivered_mail_away_and_a_release_puts_it_back_as_it_was(
    platform: Platform,
    clamd: Clamd,
    rspamd: Rspamd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment(monkeypatch, clamd=clamd.url, rspamd=rspamd.url, rspamd_password=PASSWORD)
    world = await open_world(platform.database, tmp_path)
    virus = await deliver(platform, world, 1, EICAR)
    await deliver(platform, world, 2, JUNK)
    await deliver(platform, world, 3)
    told = (Flag.SEEN, "Mine")

    async with filtering(platform):
        trial = await begin_rescan(platform.database, ME, time.time() - 60, dry_run=True)
        await ended(world, trial["id"])
        assert set(await subjects(world, "INBOX")) == {"number 1", "number 2", "number 3"}
        done = json.loads(await command(tmp_path, "rescan", "--since", "1h", "--json"))
        findings, _ = await list_findings(platform.database, ME, trial["id"])
        for found in (findings, done["findings"]):
            actions = [(one["subject"], one["action"]) for one in found]
            assert actions == [("number 1", "quarantined"), ("number 2", "junk")]
        assert (done["total"], done["seen"], done["failed"]) == (3, 3, 0)
        assert await subjects(world, "INBOX") == {"number 3": told}
        assert await subjects(world, "Junk") == {"number 2": told}

        await release(platform.database, platform.blobs, ME, virus)
        again = await begin_rescan(platform.database, ME, time.time() - 60)
        assert (await ended(world, again["id"]))["quarantined"] == 0

    assert await subjects(world, "INBOX") == {"number 1": told, "number 3": told}
    whys = [row.why for row in await rows(world, trace) if row.stage == "rescan"]
    assert "Eicar-Test-Signature" in whys[0]
    await world.queue.close()


async def ended(world: World, number: int) -> dict[str, Any]:
    """The run, once it is done."""
    async with asyncio.timeout(60):
        while (run := await get_rescan(world.database, ME, number))["state"] != "done":
            await asyncio.sleep(0.05)
    return run


async def test_a_filter_killed_at_each_step_moves_every_message_once_and_loses_none(
    platform: Platform, clamd: Clamd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, clamd=clamd.url)
    world = await open_world(platform.database, tmp_path)
    bad = {f"number {n}" for n in range(0, 40, 3)}
    for n in range(40):
        await deliver(platform, world, n, EICAR if f"number {n}" in bad else b"")
    # One process for each embedded queue.
    await platform.queue.close()
    await world.queue.close()
    run = await begin_rescan(platform.database, ME, time.time() - 60)
    points = Failpoints(tmp_path / "failpoints")
    assert len(STEPS) == 3
    for step in STEPS:
        points.arm(f"{step} kill once")
        env = {**os.environ, **settings(tmp_path), **points.environment, "PYTHONPATH": str(ROOT)}
        program = [sys.executable, "-m", "services.cli.main", "run", "filter"]
        process = await asyncio.create_subprocess_exec(*program, env=env, cwd=ROOT)
        async with asyncio.timeout(60):
            assert await process.wait() == -9, step
        async with world.database.transaction() as transaction:
            # Nobody waits here until the lease of the dead is over.
            await transaction.execute(update(rescan).values(lease_until=0.0))

    platform.queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    async with filtering(platform):
        done = await ended(world, run["id"])

    assert (done["total"], done["seen"], done["quarantined"]) == (40, 40, len(bad))
    findings, _ = await list_findings(platform.database, ME, run["id"])
    assert len(findings) == len(bad)
    assert {one["subject"] for one in findings} == bad
    assert len(await rows(world, held_copy)) == len(await rows(world, quarantine)) == len(bad)
    kept = await subjects(world, "INBOX")
    assert kept.keys() == {f"number {n}" for n in range(40)} - bad
    assert set(kept.values()) == {(Flag.SEEN, "Mine")}


async def delivered(world: World, mailbox: str = "INBOX", verdict: str = "accept") -> str:
    mail = await world.accept()
    await world.filter(mail)
    await world.deliver(mail, mailbox)
    async with world.database.transaction() as transaction:
        mine = message.c.mail_id == mail.mail_id
        await transaction.execute(update(message).where(mine).values(verdict=verdict))
    return mail.mail_id


async def begin(world: World, *, tenant: str = "") -> Run:
    await begin_rescan(world.database, ME, time.time() - 3600, tenant_name=tenant)
    run = await claim(world.database, "one", time.time())
    assert run is not None
    return run


async def step(world: World, run: Run, *conclusions: Conclusion, owner: str = "one") -> Run:
    found = await upcoming(world.database, run, 100)
    judged = [Judged(row, now) for row, now in zip(found, conclusions, strict=True)]
    await world.database.retry(lambda tx: act(tx, run, owner, judged))
    return replace(run, cursor=found[-1].mail_id)


async def rows(world: World, table: Any) -> Any:
    async with world.database.reading() as transaction:
        return await transaction.rows(select(table))


async def test_malware_is_held_and_comes_back_when_the_signature_was_wrong(world: World) -> None:
    mail_id = await delivered(world)
    store, box = world.store, await world.box()
    await store.store(box, await world.uids(), "add", Flag.SEEN | Flag.FLAGGED, "work")
    before = (await rows(world, account))[0]

    run = await begin(world)
    await finish(world.database, await step(world, run, VIRUS), time.time())

    (held,), (entry,), (end,) = [
        await rows(world, table) for table in (held_copy, quarantine, outcome)
    ]
    assert await rows(world, mailbox_message) == []
    assert (held.mailbox, held.flags, held.keywords) == ("INBOX", 5, "work")
    assert (entry.mail_id, entry.n, entry.recipient) == (mail_id, 0, "r0@example.test")
    assert (end.state, entry.reason) == ("quarantined", VIRUS.text)
    assert (await rows(world, account))[0].used_messages == 0

    run = await begin(world)
    await finish(world.database, await step(world, run, FINE), time.time())

    (copy,), (end,) = [await rows(world, table) for table in (mailbox_message, outcome)]
    assert (copy.mailbox_id, copy.flags, copy.keywords) == (box, 5, "work")
    assert end.state == "delivered"
    assert await rows(world, held_copy) == await rows(world, quarantine) == []
    assert (await rows(world, account))[0].used_octets == before.used_octets
    steps = [row.what for row in await rows(world, trace)]
    assert steps == ["delivered", "quarantined", "released"]


async def test_junk_goes_there_and_back_once_each(world: World) -> None:
    await delivered(world)
    junk = await world.box("Junk")

    for now, where in ((SPAM, "Junk"), (SPAM, "Junk"), (FINE, "INBOX"), (FINE, "INBOX")):
        run = await begin(world)
        await finish(world.database, await step(world, run, now), time.time())
        assert len(await world.uids(where)) == 1

    assert (await world.uids("Junk"), await world.uids()) == ([], [2])
    assert await world.store.vanished(junk, 0) == [1]


async def test_a_step_is_committed_by_nobody_but_who_has_the_lease_and_its_cursor(
    world: World,
) -> None:
    await delivered(world)
    run = await begin(world)
    assert await claim(world.database, "two", time.time()) is None

    with pytest.raises(RunLost):
        await step(world, run, VIRUS, owner="two")
    await step(world, run, FINE)
    with pytest.raises(RunLost):
        await step(world, run, VIRUS)
    await stop_rescan(world.database, ME, run.id)

    assert len(await rows(world, mailbox_message)) == 1
    assert await rows(world, quarantine) == []
    assert await claim(world.database, "one", time.time() + 1000) is None


async def test_a_run_of_one_tenant_leaves_the_copies_of_others_alone(world: World) -> None:
    mail = await world.accept(recipients=2)
    await world.filter(mail)
    await world.deliver(mail)
    await create_domain(world.database, "theirs.test", tenant_name="theirs")
    (world.account,) = await create_accounts(world.database, ["x@theirs.test"], "")
    async with world.database.transaction() as transaction:
        await transaction.execute(delete(outcome))
    await world.deliver(mail)

    run = await begin(world, tenant="theirs")
    await step(world, run, VIRUS)

    findings, _ = await list_findings(world.database, ME, run.id)
    assert [one["address"] for one in findings] == ["x@theirs.test"]
    assert len(await rows(world, mailbox_message)) == 1


async def test_two_releases_at_once_put_one_copy_back(world: World) -> None:
    mail_id = await delivered(world)
    await step(world, await begin(world), VIRUS)

    await release(world.database, world.blobs, ME, mail_id)
    with pytest.raises(RegistryError):
        await release(world.database, world.blobs, ME, mail_id)

    assert len(await rows(world, mailbox_message)) == 1
