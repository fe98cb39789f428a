"""The relay on the embedded backends, against a scripted host."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import delete, func, select

from libs.common.db import DatabaseUnavailable, Transaction
from libs.common.db.schema import deferred, effect, outbox, trace
from libs.common.jobs import Client, Envelope, Origin, Recipient, encode, new_mail_id
from services.platform import Platform
from services.relay import results
from tests.integration.relay.host import Host, Script
from tests.integration.relay.mail import (
    CONTENT,
    all_relayed,
    eventually,
    idle,
    make_due,
    put,
    relaying,
    rows,
    states,
    stored,
)


async def test_a_message_is_relayed_byte_for_byte_behind_our_received_field(
    platform: Platform, host: Host
) -> None:
    job = await stored(platform, "bob@other.test", client=Client("192.0.2.1", helo="mx.third.test"))

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    (taken,) = host.taken
    assert taken.recipients == ("bob@other.test",)
    head, _, _ = taken.content.partition(CONTENT)
    assert taken.content == head + CONTENT
    assert head.startswith(b"Received: from mx.third.test ([192.0.2.1])")
    assert f"SIZE={len(taken.content)}" in taken.mail
    assert not await rows(platform, deferred)
    (step,) = await rows(platform, trace)
    assert (step.stage, step.what, step.recipient) == ("relay", "relayed", "bob@other.test")
    assert "250 2.0.0 taken" in step.why


async def test_each_recipient_has_its_own_result(platform: Platform, host: Host) -> None:
    replies = {"never@other.test": "550 5.1.1 nobody", "later@other.test": "451 4.2.1 busy"}
    host.script.rcpt = lambda address: replies.get(address, "250 OK")
    job = await stored(platform, "ok@other.test", "later@other.test", "never@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 3) == {0: "relayed", 1: "deferred", 2: "bounced"}

    assert host.taken[0].recipients == ("ok@other.test",)
    (row,) = await rows(platform, deferred)
    assert "451 4.2.1 busy" in row.last_reply
    assert 200 < row.next_attempt_at - time.time() < 400


async def test_what_was_deferred_is_tried_again_for_those_who_wait(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "451 busy" if address != "a@other.test" else "250 OK"
    job = await stored(platform, "a@other.test", "b@other.test", "c@other.test")

    async with relaying(platform):
        await put(platform, job)
        await states(platform, 3)
        host.script.rcpt = lambda address: "250 OK"
        await make_due(platform)
        await eventually(lambda: all_relayed(platform, 3))

    assert [taken.recipients for taken in host.taken] == [
        ("a@other.test",),
        ("b@other.test", "c@other.test"),
    ]


async def test_a_job_that_comes_again_sends_nothing_again(platform: Platform, host: Host) -> None:
    host.script.rcpt = lambda address: "451 busy" if address == "b@other.test" else "250 OK"
    job = await stored(platform, "a@other.test", "b@other.test")

    async with relaying(platform):
        await put(platform, job)
        await states(platform, 2)
        await put(platform, job, job)
        await eventually(lambda: idle(platform))
        await asyncio.sleep(0.2)

    assert len(host.taken) == 1
    assert len(await rows(platform, trace)) == 2


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (Script(greeting="554 5.7.1 go away"), "554 5.7.1 go away"),
        (Script(greeting="hello"), "not an SMTP reply"),
        (Script(greeting=""), "closed"),
        (Script(mail=lambda line: "451 4.3.0 not now"), "451 4.3.0 not now"),
        (Script(mail=lambda line: "421 4.3.2 restarting"), "421 4.3.2 restarting"),
        (Script(rcpt=lambda address: "552 5.5.3 too many"), "552 5.5.3 too many"),
        (Script(rcpt=lambda address: ""), "closed"),
        (Script(data="451 4.3.1 full"), "451 4.3.1 full"),
        (Script(data="250 what?"), "unexpected"),
        (Script(content=lambda content: "452 4.3.1 full"), "452 4.3.1 full"),
        (Script(content=lambda content: ""), "after the final dot"),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
async def test_no_fault_of_the_other_host_loses_or_bounces_mail(
    platform: Platform, host: Host, script: Script, why: str, pipelining: bool
) -> None:
    host.script = script
    script.extensions = ("PIPELINING", "SIZE") if pipelining else ("SIZE",)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    (row,) = await rows(platform, deferred)
    assert why in row.last_reply
    assert (row.lease_owner, row.attempts) == ("", 1)


async def test_a_host_that_is_not_there_defers(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    host.stop()
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert "no connection" in (await rows(platform, deferred))[0].last_reply


@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
async def test_bare_line_ends_never_leave(platform: Platform, host: Host, size: int) -> None:
    """Another host might read them as the end of the message, and the rest as commands (S2)."""
    evil = b"\n.\nMAIL FROM:<boss@example.test>\r\n.\r\r\n\r.\r"
    body = b"a" * size + evil
    job = await stored(platform, "a@other.test", content=b"Subject: x\r\n\r\n" + body)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    (taken,) = host.taken
    assert b"\n" not in taken.content.replace(b"\r\n", b"")
    assert b"\r" not in taken.content.replace(b"\r\n", b"")
    assert taken.content.endswith(b"\r\n.\r\nMAIL FROM:<boss@example.test>\r\n.\r\n\r\n\r\n.\r\n")


async def test_many_recipients_go_by_hundreds(platform: Platform, host: Host) -> None:
    job = await stored(platform, *(f"r{i}@other.test" for i in range(250)))

    async with relaying(platform):
        await put(platform, job)
        await eventually(lambda: all_relayed(platform, 250))

    assert [len(taken.recipients) for taken in host.taken] == [100, 100, 50]


async def test_a_forward_that_only_a_row_knows_is_sent(platform: Platform, host: Host) -> None:
    job = await stored(platform, "fwd@other.test", origin=Origin.CHILD, parent=new_mail_id())
    async with platform.database.transaction() as transaction:
        await transaction.insert(
            deferred,
            [
                {
                    "mail_id": job.header.mail_id,
                    "n": 0,
                    "recipient": "fwd@other.test",
                    "domain": "other.test",
                    "received_at": job.header.received_at,
                    "next_attempt_at": time.time(),
                    "job": encode(job),
                }
            ],
        )

    async with relaying(platform):
        await eventually(lambda: all_relayed(platform, 1))

    assert len(host.taken) == 1


async def test_rows_do_not_grow_with_the_number_of_recipients(
    platform: Platform, host: Host
) -> None:
    host.script.rcpt = lambda address: "451 busy"
    job = await stored(platform, *(f"r{i}@other.test" for i in range(90)))

    async with relaying(platform):
        await put(platform, job)
        await states(platform, 90)

    async with platform.database.reading() as transaction:
        longest = await transaction.scalar(select(func.max(func.length(deferred.c.job))))
    assert longest < 1000
    async with platform.database.transaction() as transaction:
        await transaction.execute(delete(deferred))


async def test_8bit_content_is_encoded_for_a_host_that_takes_seven_bits(
    platform: Platform, host: Host
) -> None:
    host.script.extensions = ("PIPELINING", "SIZE")
    text = "Gr\u00fc\u00dfe\r\n.\r\n"
    head = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    envelope = Envelope("alice@example.test", (Recipient(0, "a@other.test"),), body="8BITMIME")
    job = await stored(platform, "a@other.test", content=head + text.encode(), envelope=envelope)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    (taken,) = host.taken
    assert taken.content.isascii()
    assert f"SIZE={len(taken.content)}" in taken.mail
    message = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert message.get_payload(decode=True).decode() == text


async def test_what_was_relayed_is_recorded_though_the_delay_of_another_cannot_be_looked_up(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    """The database is away after the dot: no result is lost, so nobody gets a second copy."""
    database, test, away = platform.database, asyncio.current_task(), asyncio.Event()

    def while_there(name: str) -> None:
        real = getattr(database, name)

        def asked() -> AbstractAsyncContextManager[Transaction]:
            if away.is_set() and asyncio.current_task() is not test:
                raise DatabaseUnavailable("away")
            return real()

        environment.setattr(database, name, asked)

    for name in ("reading", "transaction"):
        while_there(name)
    environment.setenv("HOLUB_RELAY_LEASE_SECONDS", "600")
    host.script.before_answer = lambda: asyncio.ensure_future(set_soon(away))
    replies = {"later@other.test": "451 4.2.1 busy"}
    host.script.rcpt = lambda address: replies.get(address, "250 OK")
    old = time.time() - 5 * 3600
    job = await stored(platform, "ok@other.test", "later@other.test", received_at=old)

    async with relaying(platform):
        await put(platform, job)
        await asyncio.wait_for(away.wait(), 15)
        await asyncio.sleep(0.5)
        away.clear()
        assert await states(platform, 2) == {0: "relayed", 1: "deferred"}

    assert len(host.taken) == 1
    assert [row.n for row in await rows(platform, effect)] == [1]


async def set_soon(event: asyncio.Event) -> None:
    event.set()


async def test_a_store_that_hangs_keeps_no_success_from_being_recorded(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    """The DSN of success is worth less than a short time in which we may not die."""
    environment.setattr(results, "SUCCESS_SECONDS", 0.1)
    host.script.extensions = ("PIPELINING",)
    recipients = (Recipient(0, "bob@other.test", notify="SUCCESS"),)
    job = await stored(platform, envelope=Envelope("alice@example.test", recipients))
    never = asyncio.Event()
    environment.setattr(platform.blobs, "put", lambda *_, **__: never.wait())

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert not await rows(platform, outbox)
