"""The relay on the embedded backends, against a scripted host."""

from __future__ import annotations

import asyncio
import email
import email.policy
import time
from typing import Any

import pytest
import trustme
from sqlalchemy import delete, func, select, update

from libs.common.db.schema import deferred, effect, outbox, outcome, quarantine, trace
from libs.common.jobs import (
    Client,
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    decode,
    encode,
    new_mail_id,
)
from services.platform import Platform
from tests.integration.relay.host import Host, Script
from tests.integration.relay.mail import (
    CONTENT,
    eventually,
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
        await eventually(lambda: _all_relayed(platform, 3))

    assert [taken.recipients for taken in host.taken] == [
        ("a@other.test",),
        ("b@other.test", "c@other.test"),
    ]


async def _all_relayed(platform: Platform, count: int) -> bool:
    return [row.state for row in await rows(platform, outcome)] == ["relayed"] * count


async def test_a_job_that_comes_again_sends_nothing_again(platform: Platform, host: Host) -> None:
    host.script.rcpt = lambda address: "451 busy" if address == "b@other.test" else "250 OK"
    job = await stored(platform, "a@other.test", "b@other.test")

    async with relaying(platform):
        await put(platform, job)
        await states(platform, 2)
        await put(platform, job, job)
        await eventually(lambda: _idle(platform))
        await asyncio.sleep(0.2)

    assert len(host.taken) == 1
    assert len(await rows(platform, trace)) == 2


async def _idle(platform: Platform) -> bool:
    return (await platform.queue.depth("relay")).jobs == 0


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


async def test_a_host_that_is_not_there_defers(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    host.stop()
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert "no connection" in (await rows(platform, deferred))[0].last_reply


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
        await eventually(lambda: _all_relayed(platform, 60))

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
        await eventually(lambda: _all_relayed(platform, 6))

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
        await eventually(lambda: _all_relayed(platform, 1))

    assert host.connections == 1
    assert "RSET" in host.lines


async def test_tls_is_used_when_it_is_offered(platform: Platform, host: Host) -> None:
    host.script.tls = _server_tls()
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert host.taken[0].tls
    assert [line for line in host.lines if line.startswith("EHLO")] == [
        "EHLO mail.example.test"
    ] * 2


async def test_plain_text_is_used_when_tls_fails(platform: Platform, host: Host) -> None:
    """Opportunistic: a broken certificate of theirs must not hold up mail."""
    import ssl

    host.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert not host.taken[0].tls


def _server_tls() -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.other.test").configure_cert(context)
    return context


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
        await eventually(lambda: _all_relayed(platform, 250))

    assert [len(taken.recipients) for taken in host.taken] == [100, 100, 50]


async def test_who_slept_while_another_took_over_sends_no_dot(
    platform: Platform, host: Host
) -> None:
    """The fence is looked at between the content and the dot (T5)."""
    overtaking: list[asyncio.Task[None]] = []

    def rcpt(address: str) -> str:
        overtaking.append(asyncio.create_task(_overtake(platform)))
        return "250 OK"

    host.script.rcpt = rcpt
    # Long enough to be still on its way when the row changes hands.
    job = await stored(platform, "a@other.test", content=CONTENT + b"x\r\n" * 2_000_000)

    async with relaying(platform):
        await put(platform, job)
        await eventually(lambda: _said(host, "DATA"))
        await eventually(lambda: _idle(platform))
        await asyncio.gather(*overtaking)
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
    async with platform.database.transaction() as transaction:
        await transaction.execute(
            update(deferred).values(
                next_attempt_at=0.0, lease_owner="dead", lease_until=time.time() + 0.5
            )
        )
    host.script.rcpt = lambda address: "250 OK"
    start = time.monotonic()

    async with relaying(platform):
        await eventually(lambda: _all_relayed(platform, 1))

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
    assert await _idle(platform)


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
        await eventually(lambda: _all_relayed(platform, 40))

    assert len(await rows(platform, deferred)) == 1


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
        await eventually(lambda: _all_relayed(platform, 1))

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
