"""What owners teach by sorting their mail: jobs for the spam engines, put by the outbox.

They are written in the transaction that moves the message, so nobody waits for an engine and no
lesson is lost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from libs.common.db import Transaction
from libs.common.db.schema import outbox
from libs.common.jobs import LearnJob

QUEUE = "learn"
MAX_LESSONS = 1000
"""Of one command: whoever sorts a whole archive has said enough by then."""
_JUNK, _NOT_JUNK = frozenset({"$junk", "junk"}), frozenset({"$notjunk", "nonjunk"})


@dataclass(frozen=True, slots=True)
class Lesson:
    """One message, by the place where it was put: a place is taken once."""

    place: str
    mail_id: str
    spam: bool


def of_move(source: str, target: str) -> bool | None:
    """Whether a move between mailboxes with these special uses says spam, ham, or nothing."""
    if source == target:
        return None
    if target == "\\Junk":
        return True
    # What goes from Junk to Trash is thrown away, not wanted.
    return False if source == "\\Junk" and target != "\\Trash" else None


def of_keywords(old: str, new: str) -> bool | None:
    """The same of a change of keywords ($Junk, $NotJunk: RFC 9051 §2.3.2)."""
    added = {word.lower() for word in new.split()} - {word.lower() for word in old.split()}
    junk, not_junk = not added.isdisjoint(_JUNK), not added.isdisjoint(_NOT_JUNK)
    return None if junk == not_junk else junk


async def teach(transaction: Transaction, account_id: int, lessons: Sequence[Lesson]) -> None:
    """Put these lessons into the outbox."""
    now = time.time()
    await transaction.insert(
        outbox,
        [
            {
                "key": f"{QUEUE}:{lesson.place}",
                "queue": QUEUE,
                # No mail_id: nothing of this message is under way because of it.
                "mail_id": "",
                "body": msgspec.json.encode(LearnJob(lesson.mail_id, account_id, lesson.spam)),
                "created_at": now,
            }
            for lesson in lessons[:MAX_LESSONS]
        ],
        ignore=True,
    )
