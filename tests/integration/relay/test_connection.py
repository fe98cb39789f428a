"""Connections: many messages over one, and those that break."""

from __future__ import annotations

import pytest

from libs.common.db.schema import deferred
from libs.common.jobs import (
    Envelope,
    Recipient,
)
from services.platform import Platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import (
    all_relayed,
    eventually,
    put,
    relaying,
    rows,
    states,
    stored,
)


async def test_helo_is_said_where_ehlo_is_unknown(platform: Platform, host: Host) -> None:
    host.script.ehlo = "502 5.5.1 what?"
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert host.taken[0].mail == "MAIL FROM:<alice@example.test>"


async def test_one_connection_carries_many_messages(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_AT_ONCE", "3")
    jobs = [await stored(platform, "a@other.test") for _ in range(60)]

    async with relaying(platform):
        await put(platform, *jobs)
        await eventually(lambda: all_relayed(platform, 60))

    assert len(host.taken) == 60
    assert host.connections <= 3


async def test_a_kept_connection_that_died_costs_no_attempt(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_AT_ONCE", "1")
    host.script.most_per_connection = 2
    jobs = [await stored(platform, "a@other.test") for _ in range(6)]

    async with relaying(platform):
        await put(platform, *jobs)
        await eventually(lambda: all_relayed(platform, 6))

    assert host.connections == 3


async def test_an_unfinished_transaction_is_reset_before_the_next_one(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_AT_ONCE", "1")
    host.script.rcpt = lambda a: "250 OK" if a.startswith("ok") else "450 4.2.1 no"
    first, second = await stored(platform, "no@other.test"), await stored(platform, "ok@other.test")

    async with relaying(platform):
        await put(platform, first)
        await put(platform, second)
        await eventually(lambda: all_relayed(platform, 1))

    assert host.connections == 1
    assert "RSET" in host.lines


async def test_a_slow_host_holds_up_only_its_own_slot(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_AT_ONCE", "4")
    host.script.mail = lambda line: "250-slow" if "slow" in line else "250 OK"
    host.script.extensions = ("SIZE",)
    slow = await stored(
        platform, "a@other.test", envelope=Envelope("slow@x.test", (Recipient(0, "a@other.test"),))
    )
    jobs = [await stored(platform, "a@other.test") for _ in range(40)]

    async with relaying(platform):
        await put(platform, slow, *jobs)
        await eventually(lambda: all_relayed(platform, 40))

    assert len(await rows(platform, deferred)) == 1
