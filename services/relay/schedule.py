"""When to try again, and when to give up: pure functions of times and of a random number."""

from __future__ import annotations

from collections.abc import Sequence

DELAYS = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
"""Seconds after the first, second, ... attempt; the last one for all later attempts.  At least
30 minutes on average, as RFC 5321 §4.5.4.1 advises, and quicker for what passes by itself."""
LIFETIME = 5 * 86400.0
JITTER = 0.2


def next_attempt(
    received_at: float,
    attempts: int,
    now: float,
    jitter: float,
    *,
    delays: Sequence[float] = DELAYS,
    lifetime: float = LIFETIME,
) -> float | None:
    """The time of the next attempt after `attempts` of them, or None: too old, give up.

    `jitter` is a random number in [0, 1); it spreads the delay by 20 % to both sides, so that
    what failed together does not come back together.
    """
    delay = delays[min(max(attempts, 1), len(delays)) - 1]
    at = now + delay * (1 - JITTER + 2 * JITTER * jitter)
    return at if at < received_at + lifetime else None
