"""The client and the sink keep ledgers that are true, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.client import Listener, Load
from tests.chaos.content import MARKER, Kind, Plan, stuffed
from tests.chaos.evidence import read_copy
from tests.chaos.ledger import Attempt, Ledger, Outcome, read_ledger
from tests.chaos.sink import Sink

PLAN = Plan(
    "r", 3, tuple(f"ok-p{n}@chaos.test" for n in range(5)), "sender@chaos.test", "sink.test"
)


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    sink = Sink(tmp_path / "sink.jsonl")
    await sink.start()
    yield sink
    await sink.stop()


async def _send(tmp_path: Path, port: int, count: int, plan: Plan = PLAN) -> list[Attempt]:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    numbers = itertools.count(1)
    load = Load(plan, ledger, Listener((port,)), None, per_second=500, numbers=numbers)
    await load.run(lambda: sum(ledger.outcomes.values()) + 6 <= count)
    ledger.close()
    return read_ledger(tmp_path / "ledger.jsonl")


async def test_what_the_client_sent_is_what_the_server_took(sink: Sink, tmp_path: Path) -> None:
    attempts = await _send(tmp_path, sink.port, 60)

    accepted = {a.seq: a for a in attempts if a.outcome is Outcome.ACCEPTED}
    assert len(accepted) > 20
    answered = [taken for taken in sink.taken if taken.answered]
    assert {(t.recipient, t.seq, t.sha256) for t in answered} == {
        (recipient, a.seq, a.sha256) for a in accepted.values() for recipient in a.recipients
    }


async def test_a_message_taken_without_an_answer_is_unknown(sink: Sink, tmp_path: Path) -> None:
    plan = Plan("r", 3, ("drop-1@sink.test", "drop-2@sink.test", "drop-3@sink.test"), "", "")

    attempts = await _send(tmp_path, sink.port, 20, plan)

    unknown = [a for a in attempts if a.outcome is Outcome.UNKNOWN]
    assert unknown
    assert {a.seq for a in unknown} <= {t.seq for t in sink.taken if not t.answered}


async def test_a_connection_that_cannot_be_opened_is_no_attempt(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    load = Load(PLAN, ledger, Listener((1,)), None, per_second=500, tries=1, connections=1)

    await load.run(lambda: not load.unanswered)

    assert load.unanswered == 1
    assert read_ledger(tmp_path / "ledger.jsonl") == []


async def test_a_session_that_ends_too_early_is_lost_before_the_dot(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        for _ in range(2):
            await reader.readuntil(b"\r\n")
            writer.write(b"250 OK\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)

    attempts = await _send(tmp_path, server.sockets[0].getsockname()[1], 12)

    assert {a.outcome for a in attempts} == {Outcome.LOST_BEFORE_DOT}
    assert {a.dot_at for a in attempts} == {0.0}
    server.close()


def test_a_ledger_that_ends_at_the_dot_says_unknown(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.dot(PLAN.message(7), ("ok-p1@chaos.test",))
    ledger.close()

    (attempt,) = read_ledger(tmp_path / "ledger.jsonl")

    assert (attempt.seq, attempt.outcome) == (7, Outcome.UNKNOWN)


def test_a_plan_gives_the_same_messages_again_and_each_begins_with_its_marker() -> None:
    for seq in range(1, 80):
        message = PLAN.message(seq)

        assert message == PLAN.message(seq)
        found = MARKER.match(message.content)
        assert found is not None
        assert int(found["seq"]) == seq
        assert message.content.endswith(b"\r\n")
        assert b"\r\n.\r\n" not in stuffed(message.content)


def test_all_kinds_of_messages_are_in_a_plan() -> None:
    assert {PLAN.message(seq).kind for seq in range(1, 200)} == set(Kind)


def test_the_prefix_is_cut_off_at_the_marker() -> None:
    content = PLAN.message(1).content

    copy = read_copy("a@chaos.test", "INBOX", 1, b"Received: here\r\n" + content)

    assert (copy.seq, copy.prefix) == (1, b"Received: here\r\n")
    assert copy.sha256 == hashlib.sha256(content).hexdigest()


def test_a_dsn_is_known_by_its_type_and_names_its_recipients() -> None:
    raw = (
        b"Content-Type: multipart/report; report-type=delivery-status\r\n\r\n--x\r\n"
        b"Final-Recipient: rfc822; never-1@sink.test\r\nAction: failed\r\n\r\n--x\r\n"
        + PLAN.message(1).content
    )

    copy = read_copy("a@chaos.test", "INBOX", 1, raw)

    assert (copy.seq, copy.bounced) == (0, ("never-1@sink.test",))
