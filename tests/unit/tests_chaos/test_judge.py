"""The judge sees each kind of wrong, and nothing wrong in a clean run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.content import Kind
from tests.chaos.evidence import Copy, Evidence
from tests.chaos.judge import Budget, Judge, table
from tests.chaos.ledger import Attempt, Outcome
from tests.chaos.sink import Taken

ANNA, BORIS, SENDER = "anna@chaos.test", "boris@chaos.test", "sender@chaos.test"
OK, NEVER = "ok-r-3@sink.test", "never-r-3@sink.test"
STRICT = Budget(ghosts=0, extras=0)


def attempt(seq: int, *recipients: str, kind: Kind = Kind.PLAIN) -> Attempt:
    return Attempt(
        seq, kind, "a@b.test", recipients, "00", 10, 1.0, Outcome.ACCEPTED, f"id{seq}", "250", 2.0
    )


def copy(account: str, seq: int, uid: int = 1) -> Copy:
    prefix = f"Received: by mx with ESMTP id id{seq}\r\n".encode()
    return Copy(account, "INBOX", uid, "r", seq, "00", prefix)


def attempts() -> list[Attempt]:
    return [
        attempt(1, ANNA, BORIS),
        attempt(2, ANNA, kind=Kind.VIRUS),
        attempt(3, OK, NEVER, kind=Kind.OUTBOUND),
        replace(attempt(4, ANNA), outcome=Outcome.UNKNOWN, mail_id=""),
        replace(attempt(5, ANNA), outcome=Outcome.TRANSIENT, mail_id="", reply="451 later"),
        replace(attempt(6), outcome=Outcome.LOST_BEFORE_DOT, mail_id="", dot_at=0.0),
    ]


def evidence() -> Evidence:
    dsn = Copy(SENDER, "INBOX", 1, "", 0, "", b"", (NEVER,))
    return Evidence(
        copies=[copy(ANNA, 1), copy(BORIS, 1), dsn],
        rows=[(ANNA, "id1"), (BORIS, "id1"), (SENDER, "dsn")],
        outcomes={
            ("id1", ANNA): "delivered",
            ("id1", BORIS): "delivered",
            ("id2", ANNA): "quarantined",
            ("id3", OK): "relayed",
            ("id3", NEVER): "bounced",
        },
        quarantined={("id2", ANNA)},
        taken=[Taken(OK, 3, "00", SENDER, True)],
        queues={"filter": 0, "storage": 0},
    )


def red(seen: Evidence, budget: Budget = STRICT, ledger: list[Attempt] | None = None) -> set[str]:
    checks = Judge("r", ledger or attempts(), seen, SENDER).verdict(budget)
    return {check.name for check in checks if check.violations}


def test_a_clean_run_is_green() -> None:
    assert red(evidence()) == set()


def test_a_missing_copy_is_a_loss() -> None:
    seen = evidence()
    del seen.copies[1], seen.rows[1]

    assert red(seen) == {"J1"}


def test_a_copy_without_its_outcome_is_a_loss() -> None:
    seen = evidence()
    del seen.outcomes["id1", ANNA]

    assert red(seen) == {"J1"}


def test_refused_after_a_250_is_a_loss() -> None:
    seen = evidence()
    seen.outcomes["id2", ANNA] = "refused"

    assert red(seen) == {"J1"}


def test_quarantined_and_delivered_is_one_place_too_many() -> None:
    seen = evidence()
    seen.quarantined.add(("id1", ANNA))

    assert red(seen) == {"J1"}


def test_a_second_copy_is_a_duplicate() -> None:
    seen = evidence()
    seen.copies.append(copy(ANNA, 1, 2))
    seen.rows.append((ANNA, "id1"))

    assert red(seen) == {"J2"}


def test_imap_and_sql_must_agree() -> None:
    seen = evidence()
    seen.rows.append((ANNA, "id1"))

    assert red(seen) == {"J2"}


def test_a_ghost_needs_an_excuse() -> None:
    seen = evidence()
    seen.copies.append(copy(ANNA, 5))

    assert red(seen) == {"J3"}
    assert red(seen, Budget(ghosts=1, extras=0)) == set()


def test_a_message_refused_for_good_never_comes_whatever_the_excuse() -> None:
    seen = evidence()
    seen.copies.append(copy(ANNA, 5))
    ledger = [
        replace(a, outcome=Outcome.PERMANENT, reply="550 no") if a.seq == 5 else a
        for a in attempts()
    ]

    assert red(seen, Budget(ghosts=9, extras=0), ledger) == {"J3"}


def test_an_unknown_attempt_may_come_once_only() -> None:
    seen = evidence()
    seen.copies.append(copy(ANNA, 4))
    assert red(seen) == set()

    seen.copies.append(copy(ANNA, 4, 2))
    assert red(seen) == {"J4"}


@pytest.mark.parametrize("stray", [copy(BORIS, 4), copy(ANNA, 6), copy(ANNA, 99)])
def test_what_was_never_sent_to_an_account_must_not_be_there(stray: Copy) -> None:
    seen = evidence()
    seen.copies.append(stray)

    assert "J5" in red(seen)


@pytest.mark.parametrize("change", [{"sha256": "11"}, {"prefix": b"Received: id other\r\n"}])
def test_other_octets_or_another_mail_id_in_the_prefix_are_seen(change: dict[str, bytes]) -> None:
    seen = evidence()
    seen.copies[0] = replace(seen.copies[0], **change)  # type: ignore[arg-type]

    assert red(seen) == {"J6"}


def test_a_second_copy_at_the_next_hop_needs_an_excuse() -> None:
    seen = evidence()
    seen.taken.append(seen.taken[0])

    assert red(seen) == {"J7"}
    assert red(seen, Budget(ghosts=0, extras=1)) == set()


def test_a_copy_that_the_next_hop_never_confirmed_is_no_extra() -> None:
    seen = evidence()
    seen.taken.append(replace(seen.taken[0], answered=False))

    assert red(seen) == set()


def test_two_dsns_for_one_failure_are_one_too_many() -> None:
    seen = evidence()
    seen.copies.append(replace(seen.copies[2], uid=2))

    assert red(seen) == {"J8"}


def test_a_dsn_in_a_strangers_mailbox_is_backscatter() -> None:
    seen = evidence()
    seen.copies[2] = replace(seen.copies[2], account=ANNA)

    assert red(seen) == {"J5", "J8"}


def test_a_virus_in_a_mailbox_is_seen() -> None:
    seen = evidence()
    seen.copies.append(copy(ANNA, 2))
    seen.rows.append((ANNA, "id2"))

    assert red(seen) == {"J1", "JV"}


@pytest.mark.parametrize(
    "change",
    [
        {"queues": {"filter": 1}},
        {"outbox": 1},
        {"leases": 1},
        {"deferred": {("id9", ANNA): "451"}},
        {"parked": [("filter", "id9", "why")]},
    ],
)
def test_whatever_waits_after_the_drain_is_seen(change: dict[str, object]) -> None:
    assert red(replace(evidence(), **change)) == {"J10"}  # type: ignore[arg-type]


def test_complaints_of_fsck_are_violations() -> None:
    assert red(replace(evidence(), fsck=["A3: uid >= uidnext"])) == {"J11"}


def test_a_late_answer_is_seen() -> None:
    ledger = [replace(attempts()[0], replied_at=40.0), *attempts()[1:]]

    assert red(evidence(), ledger=ledger) == {"J14"}


def test_the_table_names_each_check_and_shows_examples() -> None:
    seen = evidence()
    del seen.copies[1], seen.rows[1]

    text = table(Judge("r", attempts(), seen, SENDER).verdict(STRICT))

    assert "J1   FAIL" in text
    assert f"#1 id1 {BORIS}: found nowhere, outcome delivered" in text
    assert "J11  ok" in text
