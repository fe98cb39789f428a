"""The names of segments, and the bounds that both backends share."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

ALONE_OCTETS = 256 * 1024
"""Content over this size is a segment by itself."""
PUT_SECONDS = 8.0
"""A put ends within this time, one way or the other."""
MAX_PENDING = 64 * 1024 * 1024
"""Octets that may wait to be written; further puts wait for room."""
GROUP_RECORDS = 512
GROUP_OCTETS = 8 * 1024 * 1024
_HOUR = "mail/%Y/%m/%d/%H"


def new_key(now: float) -> str:
    """A key that no process used before; keys ascend with time."""
    return f"{hour_prefix(now)}/{int(now * 1000):013x}-{uuid.uuid4().hex[:16]}"


def hour_prefix(now: float) -> str:
    """Where segments of this time lie (UTC), without a slash at the end."""
    return time.strftime(_HOUR, time.gmtime(now))


def prefix_of(hour: datetime) -> str:
    """The same of an hour."""
    return hour.astimezone(UTC).strftime(_HOUR)


def parse_hour(prefix: str) -> datetime | None:
    """The hour of a prefix; None when it is not one of ours."""
    try:
        return datetime.strptime(prefix.strip("/"), _HOUR).replace(tzinfo=UTC)
    except ValueError:
        return None
