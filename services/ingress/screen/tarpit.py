"""tarpit: who is refused again and again waits a little longer for each further refusal."""

from __future__ import annotations

import asyncio

MOST_SECONDS = 5.0
"""For one reply.  A session that waits costs a timer; what it could ask meanwhile costs more."""


def pause_before(errors: int, after: int, seconds: float) -> float:
    """Seconds before the reply to the `errors`-th refused command of a session."""
    return min(max(errors - after, 0) * seconds, MOST_SECONDS)


async def wait(errors: int, after: int, seconds: float) -> None:
    """Wait for that time."""
    if pause := pause_before(errors, after, seconds):
        await asyncio.sleep(pause)
