"""What follows for the copies of a message that was judged again: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libs.common.jobs import Verdict
from libs.common.jobs.verdict import MALWARE
from libs.common.mailstore.flags import Flag
from services.filter.authentication import disowned
from services.filter.verdict import Conclusion

JUNK, QUARANTINED, BACK = "junk", "quarantined", "back"
_RELEASED = (QUARANTINED, Verdict.QUARANTINE, Verdict.REJECT)
"""What was held and is in a mailbox: somebody has let it go, and it is not taken from him again."""
_SORTED = Flag.FLAGGED | Flag.ANSWERED | Flag.DRAFT
_WANTED = {"$notjunk", "nonjunk", "$forwarded"}
_UNWANTED = {"$junk", "junk"}


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done with these copies, all of one message in one account."""

    action: str
    rows: tuple[Any, ...]


def decide(now: Conclusion, before: str, why: str, rows: Sequence[Any]) -> Step | None:
    """What follows for one account's copies (`mailstore.held.copies`); None: all stays.

    `before` is what a re-scan last did to them (or else the verdict of the arrival, with its
    reason `why`).  Malware is taken from wherever it is; what is only unwanted is left where
    the owner has put it, or has said by an answer or a flag that he wants it.
    """
    if now.verdict in (Verdict.QUARANTINE, Verdict.REJECT):
        if before in _RELEASED:
            return None
        malware = now.text.startswith(MALWARE)
        return _step(QUARANTINED, rows if malware else [r for r in rows if _unsorted(r)])
    if now.verdict is Verdict.JUNK:
        # What we had put into Junk and is in INBOX was taken out of there by its owner.
        unsorted = [row for row in rows if row.name == "INBOX" and _unsorted(row)]
        return _step(JUNK, unsorted) if before != JUNK else None
    if before != JUNK or disowned(why):
        return None
    return _step(BACK, [r for r in rows if _in_junk(r) and not _UNWANTED & _keywords(r)])


def _step(action: str, rows: Sequence[Any]) -> Step | None:
    return Step(action, tuple(rows)) if rows else None


def _unsorted(row: Any) -> bool:
    """It is where delivery has put it, and nobody has said that it is wanted."""
    said = row.flags & _SORTED or _WANTED & _keywords(row)
    return not said and (row.name == "INBOX" or _in_junk(row))


def _in_junk(row: Any) -> bool:
    return bool(row.special_use == "\\Junk")


def _keywords(row: Any) -> set[str]:
    return set(row.keywords.lower().split())
