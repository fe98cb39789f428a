from __future__ import annotations

import pytest

from services.relay.schedule import LIFETIME, next_attempt


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(0, 5), (1, 5), (2, 15), (3, 30), (4, 60), (5, 120), (6, 240), (50, 240)],
)
def test_delays_grow_up_to_four_hours(attempts: int, minutes: int) -> None:
    assert next_attempt(0, attempts, 1000, 0.5) == 1000 + minutes * 60


def test_what_failed_together_does_not_come_back_together() -> None:
    assert next_attempt(0, 1, 0, 0.0) == 240
    assert next_attempt(0, 1, 0, 1.0) == pytest.approx(360)


def test_after_five_days_it_is_over() -> None:
    assert next_attempt(0, 30, LIFETIME - 20_000, 0.5) is not None
    assert next_attempt(0, 30, LIFETIME - 14_000, 0.5) is None


def test_a_clock_that_was_set_back_only_prolongs() -> None:
    assert next_attempt(1000, 1, 0, 0.5) == 300
