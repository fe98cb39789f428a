"""Parts of a date (RFC 5260 §4.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from libs.protocols.message.date import format_date

_ZONE = re.compile(r"([+-])([0-9]{2})([0-5][0-9])")
_FIRST, _LAST = -62135596800 + 86400, 253402300799 - 86400


def zone_minutes(text: str) -> int | None:
    """Minutes east of UTC, or None when it is no `+hhmm`."""
    match = _ZONE.fullmatch(text)
    if not match or int(match[2]) > 23:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return -minutes if match[1] == "-" else minutes


def _zone(at: datetime) -> str:
    return f"{at:%z}"[:5]


def _julian(at: datetime) -> str:
    # The Modified Julian Day: 1858-11-17 is day 0.
    return str(at.toordinal() - datetime(1858, 11, 17, tzinfo=UTC).toordinal())


def _iso(at: datetime) -> str:
    zone = _zone(at)
    return f"{at.year:04}-{at:%m-%dT%H:%M:%S}{zone[:3]}:{zone[3:]}"


PARTS: dict[str, Callable[[datetime], str]] = {
    "year": lambda at: f"{at.year:04}",
    "month": lambda at: f"{at.month:02}",
    "day": lambda at: f"{at.day:02}",
    "date": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "julian": _julian,
    "hour": lambda at: f"{at.hour:02}",
    "minute": lambda at: f"{at.minute:02}",
    "second": lambda at: f"{at.second:02}",
    "time": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
    "iso8601": _iso,
    "std11": lambda at: format_date(at.timestamp(), zone_minutes(_zone(at)) or 0),
    "zone": _zone,
    "weekday": lambda at: str((at.weekday() + 1) % 7),
}


def part_of(epoch: float, zone: int, part: str) -> str:
    """One part of a point of time, on the clock of a zone (minutes east of UTC)."""
    bounded = min(max(epoch, _FIRST), _LAST)
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(bounded // 1))
    return PARTS[part](at.astimezone(timezone(timedelta(minutes=zone))))
