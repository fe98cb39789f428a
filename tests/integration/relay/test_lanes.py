"""A host that keeps us waiting beside one that does not: order and completion, no stopwatch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from libs.common.db.schema import deferred, outbox, outcome
from libs.common.jobs import Envelope, FilterJob, Recipient, decode
from services.platform import Platform
from tests.integration.relay.host import Host, Script
from tests.integration.relay.mail import eventually, make_due, put, relaying, rows, stored


@pytest.fixture
async def quick() -> AsyncIterator[Host]:
    other = Host()
    await other.start()
    yield other
    other.stop()


async def relayed_to(platform: Platform, domain: str) -> int:
    return sum(row.recipient.endswith(domain) for row in await rows(platform, outcome))


async def test_a_tarpit_does_not_fill_the_places_of_others(
    platform: Platform, host: Host, quick: Host, environment: pytest.MonkeyPatch
) -> None:
    """With two places and a host that says nothing for ever, all mail for the other one leaves."""
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    host.script = Script(before_answer=lambda: asyncio.ensure_future(wait()))
    environment.setenv("HOLUB_RELAY_ROUTES", f"quick.test=127.0.0.1:{quick.port}")
    environment.setenv("HOLUB_RELAY_AT_ONCE", "2")
    environment.setenv("HOLUB_RELAY_SLOW_SECONDS", "10")
    stuck = [await stored(platform, f"u{n}@tarpit.test", domain="tarpit.test") for n in range(20)]
    fine = [await stored(platform, f"u{n}@quick.test", domain="quick.test") for n in range(20)]

    async with relaying(platform):
        await put(platform, *stuck)
        await eventually(lambda: begun(host))
        await put(platform, *fine)
        await eventually(lambda: all_there(platform, "quick.test", 20), 60)
        assert host.taken == []
        # Nothing is lost meanwhile: each one is in hand or a row.
        assert len(await rows(platform, deferred)) == 20
        release.set()
        await eventually(lambda: all_there(platform, "tarpit.test", 20), 60)

    assert len(host.taken) == 20
    assert len(quick.taken) == 20


async def begun(host: Host) -> bool:
    return "DATA" in host.lines


async def all_there(platform: Platform, domain: str, count: int) -> bool:
    return await relayed_to(platform, domain) == count


async def test_a_destination_that_is_away_is_left_alone_until_it_answers_again(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    """Twenty messages for a dead host make a few connections, not twenty; none is given up."""
    environment.setenv("HOLUB_RELAY_AT_ONCE_BY_DESTINATION", "1")
    environment.setenv("HOLUB_RELAY_DELAYS_SECONDS", "2")
    host.script.greeting = "421 4.3.2 not now"
    jobs = [await stored(platform, f"u{n}@other.test") for n in range(20)]

    async with relaying(platform):
        await put(platform, *jobs)
        await eventually(lambda: pausing(platform, host, 20))
        tried = host.connections
        host.script.greeting = "220 mx.other.test ESMTP"
        await eventually(lambda: all_there(platform, "other.test", 20), 60)

    assert tried < 20
    assert len(host.taken) == 20


async def test_a_sender_who_is_refused_closes_no_domain_for_others(
    platform: Platform, host: Host
) -> None:
    """A 4.7 to MAIL is about who sends: each message is tried, none waits for a pause."""
    host.script.mail = lambda line: "451 4.7.1 slow down" if "alice" in line else "250 2.1.0 OK"
    refused = [await stored(platform, f"u{n}@other.test") for n in range(12)]
    envelope = Envelope("bob@example.test", (Recipient(0, "u@other.test"),))
    fine = await stored(platform, envelope=envelope)

    async with relaying(platform):
        await put(platform, *refused)
        await eventually(lambda: all_refused(platform, 12))
        await put(platform, fine)
        await eventually(lambda: all_there(platform, "other.test", 1))

    assert sum("MAIL FROM:<alice" in line for line in host.lines) == 12


async def all_refused(platform: Platform, count: int) -> bool:
    found = await rows(platform, deferred)
    return ["slow down" in row.last_reply for row in found] == [True] * count


async def test_what_is_too_old_ends_untried_while_its_destination_is_left_alone(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    """A dead domain has one attempt at a time, so most of its mail would wait for ever."""
    environment.setenv("HOLUB_RELAY_AT_ONCE_BY_DESTINATION", "1")
    host.script.greeting = "421 4.3.2 not now"
    old = time.time() - 5 * 86400
    jobs = [await stored(platform, f"u{n}@other.test", received_at=old) for n in range(12)]

    async with relaying(platform):
        await put(platform, *jobs)
        await eventually(lambda: pausing(platform, host, 12))
        await make_due(platform)
        await eventually(lambda: all_there(platform, "other.test", 12))

    assert host.connections < 12
    assert {row.state for row in await rows(platform, outcome)} == {"bounced"}
    sent = [decode(row.body, FilterJob) for row in await rows(platform, outbox)]
    reports = [(await platform.blobs.read(job.blob)).content for job in sent]
    assert sum(b"Status: 5.4.7" in report for report in reports) == 12 - host.connections
    assert all(b"Not delivered within 5 days" in report for report in reports)


async def pausing(platform: Platform, host: Host, count: int) -> bool:
    """It refused twice, and since then nobody tries what waits for it."""
    found, ended = await rows(platform, deferred), await rows(platform, outcome)
    return (
        host.connections >= 2
        and len(found) + len(ended) == count
        and not any(row.lease_owner for row in found)
    )
