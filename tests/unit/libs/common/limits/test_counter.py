"""Counting in windows."""

from __future__ import annotations

import pytest

from libs.common.limits import Counts, Limit, network_keys

LIMIT = Limit(10, 60)


def test_as_many_as_the_limit_are_allowed_and_no_more() -> None:
    counts = Counts()

    assert [counts.hit("a", LIMIT, 600.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert counts.hit("b", LIMIT, 600.0)


def test_hits_of_the_window_before_fade() -> None:
    counts = Counts()
    counts.hit("a", LIMIT, 600.0, 10)

    assert not counts.allows("a", LIMIT, 660.0)
    assert counts.allows("a", LIMIT, 690.0, 5)
    assert not counts.allows("a", LIMIT, 690.0, 6)
    assert counts.allows("a", LIMIT, 720.0, 10)


def test_no_limit_counts_nothing() -> None:
    counts = Counts()

    assert counts.hit("a", Limit(0, 60), 600.0, 10**9)
    assert counts.estimate("a", LIMIT, 600.0) == 0


def test_what_others_counted_counts() -> None:
    counts = Counts()
    counts.hit("a", LIMIT, 600.0, 4)
    assert counts.take() == {("a", 10, 60): 4}

    counts.learn("a", 10, 9)

    assert counts.hit("a", LIMIT, 601.0)
    assert not counts.hit("a", LIMIT, 601.0)


def test_the_window_before_is_learnt_too() -> None:
    counts = Counts()
    counts.hit("a", LIMIT, 660.0)

    counts.learn("a", 10, 9)

    assert not counts.hit("a", LIMIT, 660.0)


def test_what_could_not_be_told_is_told_next_time_and_counts_once() -> None:
    counts = Counts()
    counts.hit("a", LIMIT, 600.0, 4)
    told = counts.take()

    counts.untold(told)

    assert counts.estimate("a", LIMIT, 600.0) == 4
    assert counts.take() == told


def test_counts_far_from_the_limit_are_not_told() -> None:
    counts, limit = Counts(), Limit(1000, 60)

    counts.hit("a", limit, 600.0, 49)
    assert counts.take() == {}
    counts.hit("a", limit, 600.0)
    assert counts.take() == {("a", 10, 60): 50}


@pytest.mark.parametrize(
    ("ip", "keys"),
    [
        ("192.0.2.1", ("ip/192.0.2.1",)),
        ("::ffff:192.0.2.1", ("ip/192.0.2.1",)),
        ("2001:db8:1:2:3::4", ("ip/2001:db8:1:2:3::4", "net/2001:db8:1:2::/64")),
        ("fe80::1%eth0", ("ip/fe80::1", "net/fe80::/64")),
        ("", ()),
    ],
)
def test_a_client_is_counted_by_its_address_and_its_64(ip: str, keys: tuple[str, ...]) -> None:
    assert network_keys(ip) == keys
