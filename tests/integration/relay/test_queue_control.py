"""Mail that waits, steered: held, released, tried at once, given up."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import mail_queue
from libs.common.admin.mail_queue import Which
from libs.common.admin.principal import Principal, Role, local_operator
from libs.common.db import open_database
from libs.common.db.schema import HELD, deferred, outbox, outcome, trace
from libs.common.jobs import FilterJob, decode
from services.platform import Platform
from services.relay import claim
from tests.integration.relay.host import Host
from tests.integration.relay.mail import eventually, make_due, put, relaying, rows, states, stored
from tests.integration.relay.test_claim import relay_job

ROOT = local_operator("test")


async def waiting(platform: Platform, host: Host, *addresses: str, **fields: object) -> str:
    """A message that was deferred for these recipients."""
    host.script.rcpt = lambda address: "450 4.2.1 later"
    job = await stored(platform, *addresses, **fields)
    async with relaying(platform):
        await put(platform, job)
        await states(platform, len(addresses))
    host.script.rcpt = lambda address: "250 2.1.5 OK"
    return job.header.mail_id


async def act(platform: Platform, action: str, why: str = "", **which: str) -> int:
    return await mail_queue.act(platform.database, ROOT, action, Which(**which), why)


async def listed(platform: Platform, who: Principal = ROOT, **which: str) -> list[tuple[str, str]]:
    found, _ = await mail_queue.list_waiting(platform.database, who, Which(**which))
    assert await mail_queue.count_waiting(platform.database, who, Which(**which)) == len(found)
    return [(row["recipient"], row["state"]) for row in found]


async def test_what_is_held_stays_though_it_is_due_until_it_is_released(
    platform: Platform, host: Host
) -> None:
    mail_id = await waiting(platform, host, "bob@other.test", "eve@other.test")
    assert await act(platform, "hold", "a strange message", recipient="bob@other.test") == 1

    # What is held is not among what a domain's retry meets.
    assert await act(platform, "retry", domain="other.test") == 1
    async with relaying(platform):
        await eventually(lambda: relayed(platform, 1))

    assert await listed(platform) == [("bob@other.test", "held")]
    (row,) = await rows(platform, deferred)
    assert row.next_attempt_at == HELD
    assert "a strange message" in row.order_why
    assert await act(platform, "release", mail_id=mail_id) == 1
    async with relaying(platform):
        await eventually(lambda: relayed(platform, 2))
    assert [taken.recipients for taken in host.taken] == [("eve@other.test",), ("bob@other.test",)]
    steps = [(row.what, row.recipient) for row in await rows(platform, trace)]
    assert ("held", "bob@other.test") in steps
    assert ("released", "bob@other.test") in steps


async def relayed(platform: Platform, count: int) -> bool:
    return [row.state for row in await rows(platform, outcome)].count("relayed") == count


async def test_what_is_given_up_is_bounced_untried_and_the_sender_is_told(
    platform: Platform, host: Host
) -> None:
    await waiting(platform, host, "bob@other.test", "eve@other.test")
    lines = len(host.lines)
    await act(platform, "hold", recipient="bob@other.test")

    assert await act(platform, "bounce", "sent by mistake", recipient="bob@other.test") == 1
    async with relaying(platform):
        await eventually(lambda: rows(platform, outcome))

    assert [(row.n, row.state) for row in await rows(platform, outcome)] == [(0, "bounced")]
    assert [row.n for row in await rows(platform, deferred)] == [1]
    (job,) = [decode(row.body, FilterJob) for row in await rows(platform, outbox)]
    told = (await platform.blobs.read(job.blob)).content
    assert b"given up by local:test: sent by mistake" in told
    assert b"bob@other.test" in told
    assert b"eve@other.test" not in told
    assert host.lines[lines:] == []


async def test_what_is_discarded_is_gone_at_once_with_its_outcome(
    platform: Platform, host: Host
) -> None:
    await waiting(platform, host, "bob@other.test")

    assert await act(platform, "discard", "spam", sender="alice@example.test") == 1

    assert await rows(platform, deferred) == []
    (row,) = await rows(platform, outcome)
    assert (row.state, row.detail) == ("discarded", "discarded by local:test: spam")
    assert await rows(platform, outbox) == []


async def test_what_is_on_the_wire_is_not_met(platform: Platform, host: Host) -> None:
    await waiting(platform, host, "bob@other.test")
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(deferred).values(lease_owner="x", lease_until=HELD))

    assert await listed(platform, state="running") == [("bob@other.test", "running")]
    for action in ("hold", "retry", "bounce", "discard"):
        with pytest.raises(NotFound):
            await act(platform, action, domain="other.test")


async def test_an_attempt_that_slept_beyond_its_lease_does_not_send_what_was_held_since(
    platform: Platform, host: Host
) -> None:
    mail_id = await waiting(platform, host, "bob@other.test")
    unit = claim.Unit(mail_id, 0, 1)
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(deferred).values(lease_owner="x", lease_until=1.0))
        assert await claim.still_ours(transaction, "x", [unit]) == {unit}

    await act(platform, "hold", mail_id=mail_id)

    async with platform.database.transaction() as transaction:
        assert await claim.still_ours(transaction, "x", [unit]) == set()


async def test_rows_are_found_by_all_that_is_given(platform: Platform, host: Host) -> None:
    first = await waiting(platform, host, "bob@other.test")
    await make_due(platform)
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(deferred).values(next_attempt_at=HELD - 1))
    second = await stored(platform, "bob@else.test", domain="else.test")
    host.script.rcpt = lambda address: "450 4.2.1 later"
    async with relaying(platform):
        await put(platform, second)
        await states(platform, 1)

    assert await listed(platform, mail_id=first) == [("bob@other.test", "waiting")]
    assert await listed(platform, domain="ELSE.test") == [("bob@else.test", "waiting")]
    assert len(await listed(platform, sender="alice@example.test")) == 2
    assert await listed(platform, sender="alice@example.test", recipient="x@y.test") == []
    assert await listed(platform, tenant="nobody") == []
    shown = await mail_queue.get_waiting(platform.database, ROOT, first, 0)
    assert (shown["login"], shown["attempts"]) == ("alice@example.test", 1)
    assert "4.2.1 later" in shown["last_reply"]
    with pytest.raises(RegistryError, match="say which"):
        await act(platform, "hold", state="waiting")


async def test_a_tenant_and_a_domain_see_and_steer_their_own(
    platform: Platform, host: Host
) -> None:
    await waiting(platform, host, "bob@other.test")
    ours, theirs = (Principal("t", Role.TENANT, tenant_id=n) for n in (1, 2))
    mine = Principal("d", Role.DOMAIN, tenant_id=1, domains=frozenset({"example.test"}))
    others = Principal("d", Role.DOMAIN, tenant_id=1, domains=frozenset({"sub.example.test"}))

    assert len(await listed(platform, ours)) == len(await listed(platform, mine)) == 1
    assert await listed(platform, theirs) == await listed(platform, others) == []
    for who in (theirs, others):
        with pytest.raises(NotFound):
            await mail_queue.act(platform.database, who, "hold", Which(domain="other.test"))
    assert await mail_queue.act(platform.database, mine, "hold", Which(domain="other.test")) == 1


async def test_an_api_whose_clock_is_ahead_takes_nothing_from_a_running_attempt(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases are told by the database's clock, here as in the relay."""
    database = open_database(postgres_url)
    try:
        job = relay_job()
        await database.retry(lambda tx: claim.claim_new(tx, [job], "relay", 60))
        ahead = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: ahead)
        mail_id = job.header.mail_id

        shown = await mail_queue.get_waiting(database, ROOT, mail_id, 0)
        assert shown["state"] == "running"
        with pytest.raises(NotFound):
            await mail_queue.act(database, ROOT, "hold", Which(mail_id=mail_id))
        assert await mail_queue.count_waiting(database, ROOT, Which(state="running")) == 1
        (row,), _ = await mail_queue.list_waiting(database, ROOT, Which(state="running"))
        assert row["state"] == "running"
    finally:
        await database.close()
