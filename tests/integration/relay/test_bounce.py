"""Bounces: the report, and who gets none."""

from __future__ import annotations

import email
import email.policy
import time
from typing import Any

import pytest

from libs.common.db.schema import deferred, effect, outbox, quarantine, trace
from libs.common.jobs import (
    Client,
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    decode,
)
from services.platform import Platform
from tests.integration.relay.host import Host, Script
from tests.integration.relay.mail import (
    all_relayed,
    eventually,
    make_due,
    put,
    relaying,
    rows,
    states,
    stored,
)


async def test_a_bounce_is_a_report_to_the_sender_in_the_same_commit(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "550 5.1.1 nobody here"
    job = await stored(platform, "x@other.test", "y@other.test")

    async with relaying(platform):
        await put(platform, job)
        await states(platform, 2)

    (row,) = await rows(platform, outbox)
    report = decode(row.body, FilterJob)
    assert row.queue == "filter"
    assert report.header.origin is Origin.DSN
    assert report.header.envelope.reverse_path == ""
    assert report.header.envelope.recipients[0].address == "alice@example.test"
    children = {(item.n, item.child) for item in await rows(platform, effect)}
    assert children == {(0, report.header.mail_id), (1, report.header.mail_id)}
    content = (await platform.blobs.read(report.blob)).content
    text = email.message_from_bytes(content, policy=email.policy.default).as_string()
    for words in ("x@other.test", "y@other.test", "nobody here", "Subject: hello"):
        assert words in text
    steps = [row.why for row in await rows(platform, trace) if row.what == "bounced"]
    assert len(steps) == 2
    assert all("nobody here (no_mailbox)" in why for why in steps)


@pytest.mark.parametrize(
    "fields",
    [
        {"client": Client("192.0.2.1")},
        {"envelope": Envelope("", (Recipient(0, "x@other.test"),))},
    ],
)
async def test_a_sender_whom_we_do_not_know_gets_no_report(
    platform: Platform, host: Host, fields: dict[str, Any]
) -> None:
    host.script.rcpt = lambda address: "550 5.1.1 nobody here"
    job = await stored(platform, "x@other.test", **fields)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "quarantined"}

    assert not await rows(platform, outbox)
    (held,) = await rows(platform, quarantine)
    assert "nobody here" in held.reason


async def test_what_is_too_old_is_bounced_with_its_last_reply(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "451 4.2.1 still busy"
    job = await stored(platform, "x@other.test", received_at=time.time() - 5 * 86400)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "bounced"}

    report = decode((await rows(platform, outbox))[0].body, FilterJob)
    content = (await platform.blobs.read(report.blob)).content
    assert b"still busy" in content
    assert b"Status: 5.2.1" in content
    assert b"5 days" in content


@pytest.mark.parametrize(
    "script",
    [
        Script(mail=lambda line: "550 5.7.1 not you"),
        Script(data="550 5.7.1 not this"),
        Script(content=lambda content: "554 5.6.0 not this"),
        Script(extensions=("SIZE 10",)),
    ],
)
async def test_a_permanent_refusal_bounces(platform: Platform, host: Host, script: Script) -> None:
    host.script = script
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "bounced"}


async def told(platform: Platform) -> list[dict[str, str]]:
    """Action, status and recipient of each report that goes to the sender, as the parser of the
    standard library reads them."""
    found = []
    for row in await rows(platform, outbox):
        job = decode(row.body, FilterJob)
        content = (await platform.blobs.read(job.blob)).content
        _, status, _ = email.message_from_bytes(content, policy=email.policy.default).iter_parts()
        groups = status.get_payload()
        assert isinstance(groups, list)
        found += [dict(group.items()) for group in groups[1:]]
    return found


def asking(notify: str, *addresses: str) -> Envelope:
    recipients = [Recipient(n, address, notify=notify) for n, address in enumerate(addresses)]
    return Envelope("alice@example.test", tuple(recipients))


@pytest.mark.parametrize("announced", [True, False])
async def test_success_is_reported_by_whoever_is_last_to_know_of_dsn(
    platform: Platform, host: Host, announced: bool
) -> None:
    """RFC 3461 §5.2.2: a host that announces DSN has the duty; else we say that it was relayed."""
    if not announced:
        host.script = Script(extensions=("PIPELINING",))
    addresses = ("x@other.test", "y@other.test")
    job = await stored(platform, *addresses, envelope=asking("SUCCESS,FAILURE", *addresses))

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 2) == {0: "relayed", 1: "relayed"}

    reports = await told(platform)
    asked = [line for line in host.lines if "NOTIFY=SUCCESS,FAILURE" in line]
    assert len(asked) == (2 if announced else 0)
    assert [r["Final-Recipient"] for r in reports] == (
        [] if announced else ["rfc822; x@other.test", "rfc822; y@other.test"]
    )
    assert {(r["Action"], r["Status"]) for r in reports} <= {("relayed", "2.0.0")}


async def test_of_a_delay_the_sender_is_told_once_while_it_is_tried_on(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "451 4.2.1 still busy"
    quiet = await stored(platform, "q@other.test", envelope=asking("FAILURE", "q@other.test"))
    old = time.time() - 5 * 3600
    job = await stored(platform, "x@other.test", received_at=old)

    async with relaying(platform):
        await put(platform, job, quiet)
        await eventually(lambda: attempts(platform, 1))
        await make_due(platform)
        await eventually(lambda: attempts(platform, 2))
        host.script.rcpt = lambda address: "250 2.1.5 OK"
        await make_due(platform)
        await eventually(lambda: all_relayed(platform, 2))

    (report,) = await told(platform)
    assert (report["Action"], report["Status"]) == ("delayed", "4.2.1")
    assert report["Final-Recipient"] == "rfc822; x@other.test"
    assert report["Will-Retry-Until"]
    assert [(row.n, row.kind) for row in await rows(platform, effect)] == [(0, "dsn_delay")]


async def attempts(platform: Platform, count: int) -> bool:
    """Both wait, after so many attempts."""
    found = await rows(platform, deferred)
    return [(row.attempts, row.lease_owner) for row in found] == [(count, "")] * 2
