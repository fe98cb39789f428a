"""Fences and leases: who may send and record (T5)."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import update

from libs.common.db.schema import deferred, outcome
from services.platform import Platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import (
    all_relayed,
    eventually,
    idle,
    put,
    relaying,
    rows,
    states,
    stored,
)


async def test_who_slept_while_another_took_over_sends_no_dot(
    platform: Platform, host: Host
) -> None:
    """The fence is looked at between the content and the dot (T5)."""
    # The row changes hands after DATA was said, before any content goes.
    host.script.before_data = lambda: asyncio.ensure_future(_overtake(platform))
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        await eventually(lambda: _said(host, "DATA"))
        await eventually(lambda: idle(platform))
        await asyncio.sleep(0.5)

    assert not host.taken
    assert not await rows(platform, outcome)
    (row,) = await rows(platform, deferred)
    assert (row.lease_owner, row.attempts) == ("another", 2)


async def _said(host: Host, line: str) -> bool:
    return line in host.lines


async def test_a_result_that_comes_too_late_is_refused(platform: Platform, host: Host) -> None:
    host.script.before_answer = lambda: asyncio.ensure_future(_overtake(platform))
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        await eventually(lambda: _taken(host))
        await asyncio.sleep(0.3)

    assert not await rows(platform, outcome)
    assert [row.lease_owner for row in await rows(platform, deferred)] == ["another"]


async def _overtake(platform: Platform) -> None:
    async with platform.database.transaction() as transaction:
        await transaction.execute(
            update(deferred).values(attempts=deferred.c.attempts + 1, lease_owner="another")
        )


async def _taken(host: Host) -> bool:
    return bool(host.taken)


async def test_what_a_dead_process_had_in_hand_is_taken_over(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "451 busy"
    job = await stored(platform, "a@other.test")
    async with relaying(platform):
        await put(platform, job)
        await states(platform, 1)
    start = time.monotonic()
    async with platform.database.transaction() as transaction:
        await transaction.execute(
            update(deferred).values(
                next_attempt_at=0.0, lease_owner="dead", lease_until=time.time() + 0.5
            )
        )
    host.script.rcpt = lambda address: "250 OK"

    async with relaying(platform):
        await eventually(lambda: all_relayed(platform, 1))

    assert time.monotonic() - start > 0.3


async def test_leases_of_those_who_live_are_kept(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_LEASE_SECONDS", "1")
    host.script.before_answer = lambda: asyncio.ensure_future(asyncio.sleep(2.5))
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert len(host.taken) == 1


async def test_stopping_gives_up_slow_attempts_and_their_leases(
    platform: Platform, host: Host
) -> None:
    slow = asyncio.Event()

    def mail(line: str) -> str:
        slow.set()
        return "250-go"

    host.script.mail = mail
    host.script.extensions = ("SIZE",)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        await asyncio.wait_for(slow.wait(), 10)

    (row,) = await rows(platform, deferred)
    assert (row.lease_owner, row.lease_until) == ("", 0.0)
    assert await idle(platform)
