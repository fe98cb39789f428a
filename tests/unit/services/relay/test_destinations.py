from __future__ import annotations

import pytest

from services.relay.destinations import MOST_KNOWN, Admission, Destinations

NOW = 1000.0


def refused(known: Destinations, domain: str, times: int, now: float = NOW) -> None:
    for _ in range(times):
        known.ended(domain, now, 0.1, refused=True, slow=False)


def admitted(known: Destinations, domain: str, jobs: int, now: float = NOW, slow: int = 100) -> int:
    admission = Admission(known, now, slow)
    waits = [admission.put_off(domain) for _ in range(jobs)]
    assert admission.refused == sum(wait > 0 for wait in waits)
    return waits.count(0.0)


def test_answers_let_a_destination_grow_up_to_the_most() -> None:
    known = Destinations(6)
    before = known.of("x.test").limit

    for _ in range(3):
        known.ended("x.test", NOW, 0.1, refused=False, slow=False)
    some = known.of("x.test").limit
    for _ in range(100):
        known.ended("x.test", NOW, 0.1, refused=False, slow=False)

    assert before < some < 6
    assert known.of("x.test").limit == 6


def test_one_refusal_may_be_chance_and_more_are_left_alone_for_longer_and_longer() -> None:
    known = Destinations(20)
    pauses = []

    for _ in range(20):
        refused(known, "x.test", 1)
        pauses.append(known.closed_for("x.test", NOW))

    assert pauses[:4] == [0.0, 5.0, 10.0, 20.0]
    assert pauses[-1] == 1800.0
    assert known.of("x.test").limit == 1
    assert known.closed_for("y.test", NOW) == 0.0


def test_a_pause_is_never_longer_than_the_time_between_two_attempts() -> None:
    known = Destinations(20, longest=3.0)

    refused(known, "x.test", 9)

    assert known.closed_for("x.test", NOW) == 3.0


def test_while_closed_nothing_is_taken_and_then_one_finds_out() -> None:
    known = Destinations(20)
    refused(known, "x.test", 3)

    assert admitted(known, "x.test", 5) == 0
    assert Admission(known, NOW, 100).put_off("x.test") == 10.0
    assert admitted(known, "x.test", 5, NOW + 11) == 1


def test_an_answer_opens_it_at_once() -> None:
    known = Destinations(20)
    refused(known, "x.test", 5)

    known.ended("x.test", NOW + 1, 0.1, refused=False, slow=False)

    assert known.closed_for("x.test", NOW + 1) == 0.0
    assert not known.of("x.test").slow
    assert admitted(known, "x.test", 5) == 5


def test_a_quick_one_may_have_many_in_hand_and_one_that_takes_long_as_many_again_as_run() -> None:
    known = Destinations(4)
    for _ in range(30):
        known.ended("quick.test", NOW, 0.01, refused=False, slow=False)
        known.ended("long.test", NOW, 60.0, refused=False, slow=True)

    assert admitted(known, "quick.test", 1000) == 1000
    assert admitted(known, "long.test", 1000) == 8


def test_those_that_are_put_off_get_turns_one_after_the_other() -> None:
    known = Destinations(4)
    for _ in range(30):
        known.ended("x.test", NOW, 8.0, refused=False, slow=True)
    admission = Admission(known, NOW, 100)

    waits = [admission.put_off("x.test") for _ in range(12)][8:]

    assert waits == sorted(waits)
    assert waits[1] - waits[0] == pytest.approx(known.of("x.test").pace)


def test_all_slow_ones_together_have_a_bound() -> None:
    known = Destinations(4)
    for n in range(10):
        known.set_slow(f"{n}.test", True)
    known.take("0.test")
    admission = Admission(known, NOW, 3)

    taken = [admission.put_off(f"{n}.test") for n in range(10)].count(0.0)

    assert taken == 2
    assert admission.put_off("quick.test") == 0.0


def test_what_is_in_hand_is_counted_where_its_destination_is() -> None:
    known = Destinations(4)
    for domain in ("a.test", "a.test", "b.test"):
        known.take(domain)

    known.set_slow("a.test", True)
    known.set_slow("a.test", True)
    assert (known.quick_in_hand, known.slow_in_hand) == (1, 2)
    known.let_go("a.test")
    known.set_slow("a.test", False)

    assert (known.quick_in_hand, known.slow_in_hand) == (2, 0)


def test_what_is_remembered_has_a_bound_and_what_is_in_hand_stays() -> None:
    known = Destinations(4)
    known.take("busy.test")

    for n in range(MOST_KNOWN + 10):
        known.of(f"{n}.test")
        known.of("busy.test")

    assert known.of("busy.test").in_hand == 1
    assert len(known) <= MOST_KNOWN
