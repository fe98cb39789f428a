"""Dates: RFC 5322 §3.3 with the obsolete forms of §4.3, and IMAP's date-time.  No clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

# RFC 5322 §4.3: any other letters, the military ones too, tell nothing and mean -0000.
_ZONES = {"EDT": -240, "EST": -300, "CDT": -300, "CST": -360}
_ZONES |= {"MDT": -360, "MST": -420, "PDT": -420, "PST": -480}

_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{1,2})(?:[:.](?P<second>\d{1,2}))?(?:[.,]\d{1,9})?"
_DATE = re.compile(
    r"(?:[^\W\d]{2,12}\.?,?\s{0,9})?(?P<day>\d{1,2})[\s-]{1,9}(?P<month>[A-Za-z]{3})[a-z]{0,6}\.?,?"
    r"[\s-]{1,9}(?P<year>\d{2,4}),?\s{1,9}" + _TIME + r"\s{0,9}(?P<zone>[+-]\d{4}|[A-Za-z]{1,5})?"
)
_ASCTIME = re.compile(
    r"[A-Za-z]{3},?\s{1,9}(?P<month>[A-Za-z]{3})\s{1,9}(?P<day>\d{1,2}),?\s{1,9}"
    + _TIME
    + r"\s{1,9}(?:(?P<zone>[+-]\d{4}|[A-Z]{1,5})\s{1,9})?(?P<year>\d{4})"
)
_INTERNAL = re.compile(
    r"(?P<day>[ \d]?\d)-(?P<month>[A-Za-z]{3})-(?P<year>\d{4}) "
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<zone>[+-]\d{4})"
)
_COMMENT = re.compile(r"\([^()]{0,100}\)")
_MAX_OCTETS = 200
_FIRST = datetime.min.replace(tzinfo=UTC).timestamp() + 86_400
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp() - 86_400


class Moment(NamedTuple):
    """A point of time and the clock on the wall where it was written."""

    epoch: float
    """Seconds since 1970 in UTC."""
    zone: int
    """Minutes east of UTC; 0 when unknown."""


def parse_date(value: bytes | str) -> Moment | None:
    """What a Date field says, or None when it says nothing that can be understood."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    text = text[:_MAX_OCTETS].strip()
    if "(" in text:
        text = _COMMENT.sub(" ", text).strip()
    match = _DATE.match(text) or _ASCTIME.match(text)
    return _moment(match) if match else None


def parse_internaldate(value: bytes | str) -> Moment | None:
    """IMAP's date-time without its quotes (RFC 9051 §9), or None when it is malformed."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    match = _INTERNAL.fullmatch(text)
    return _moment(match) if match else None


def format_date(epoch: float, zone: int = 0) -> str:
    """`Fri, 21 Nov 1997 09:55:06 -0600` (RFC 5322 §3.3)."""
    return _format(int(min(max(epoch, _FIRST), _LAST) // 1), zone)


@lru_cache(maxsize=64)
def _format(second: int, zone: int) -> str:
    # Under load, most messages are of the same few seconds.
    at = _local(second, zone)
    month = _MONTHS[at.month - 1]
    return f"{_DAYS[at.weekday()]}, {at.day:02} {month} {at.year:04} {at:%H:%M:%S %z}"


def format_internaldate(epoch: float, zone: int = 0) -> str:
    """`17-Jul-1996 02:44:25 -0700`, the day padded with a space, without quotes (RFC 9051 §9)."""
    at = _local(epoch, zone)
    return f"{at.day:2}-{_MONTHS[at.month - 1]}-{at.year:04} {at:%H:%M:%S %z}"


def _local(epoch: float, zone: int) -> datetime:
    # strftime's %b and %a would speak the language of the locale; %H:%M:%S %z do not.
    bounded = min(max(epoch, _FIRST), _LAST)
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(bounded // 1))
    return utc.astimezone(timezone(timedelta(minutes=zone)))


def _moment(match: re.Match[str]) -> Moment | None:
    month = _MONTH.get(match["month"].lower())
    if month is None:
        return None
    zone = _zone(match["zone"] or "")
    # 60 is a leap second; Python's calendar has none.
    second = min(int(match["second"] or 0), 59) if int(match["second"] or 0) <= 60 else 60
    try:
        wall = datetime(
            _year(match["year"]),
            month,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return Moment(wall.timestamp() - zone * 60, zone)


def _year(digits: str) -> int:
    year = int(digits)
    # RFC 5322 §4.3: two digits up to 49 are of this century; three count from 1900.
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _zone(text: str) -> int:
    if text[:1] not in ("+", "-"):
        return _ZONES.get(text.upper(), 0)
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    # No clock is a day off; a zone like -9999 says that the writer did not know.
    minutes = minutes if minutes < 1_440 else 0
    return -minutes if text[0] == "-" else minutes
