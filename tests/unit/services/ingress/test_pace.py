"""When content comes too slowly."""

from __future__ import annotations

from services.ingress.pace import Pace


def looks(*seen: tuple[float, int], least: float = 100) -> list[bool]:
    pace = Pace()
    return [pace.too_slow(now, octets, over_seconds=150, least=least) for now, octets in seen]


def test_a_drip_is_too_slow_at_the_second_look() -> None:
    assert looks((1000, 0), (1300, 3)) == [False, True]


def test_just_the_least_is_enough_and_one_octet_less_is_not() -> None:
    assert looks((1000, 500), (1200, 500 + 200 * 100)) == [False, False]
    assert looks((1000, 500), (1200, 500 + 200 * 100 - 1)) == [False, True]


def test_a_short_time_says_nothing() -> None:
    assert looks((1000, 0), (1100, 0), (1149, 0), (1150, 0)) == [False, False, False, True]


def test_what_came_fast_at_first_does_not_count_for_ever() -> None:
    assert looks((1000, 0), (1200, 10**9), (1400, 10**9 + 1)) == [False, False, True]


def test_as_slow_as_it_likes() -> None:
    assert looks((1000, 0), (9000, 0), least=0) == [False, False]
