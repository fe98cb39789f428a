"""Flags as a bit set, keywords as a sorted, space-joined text (RFC 9051 §2.3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Flag(IntEnum):
    """The system flags that are kept, one bit each.

    Not an IntFlag: that can be iterated over, so asyncpg takes it for an array.
    """

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


_NAMES = {
    Flag.SEEN: "\\Seen",
    Flag.ANSWERED: "\\Answered",
    Flag.FLAGGED: "\\Flagged",
    Flag.DELETED: "\\Deleted",
    Flag.DRAFT: "\\Draft",
}
_BITS = {name.lower(): flag for flag, name in _NAMES.items()}

MAX_KEYWORDS = 64
"""Keywords on one message; more are refused."""


def to_names(flags: int, keywords: str) -> list[str]:
    """All flags as IMAP names them, system flags first."""
    return [name for flag, name in _NAMES.items() if flags & flag] + keywords.split()


def from_names(names: Iterable[str]) -> tuple[int, str]:
    """(bits, keywords); unknown system flags, \\Recent among them, are dropped."""
    flags, keywords = 0, set()
    for name in names:
        if name.startswith("\\"):
            flags |= _BITS.get(name.lower(), 0)
        else:
            keywords.add(name)
    if len(keywords) > MAX_KEYWORDS:
        raise ValueError(f"more than {MAX_KEYWORDS} keywords")
    return flags, " ".join(sorted(keywords))
