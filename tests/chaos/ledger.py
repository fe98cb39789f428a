"""The client's own ledger: what was sent, and what was answered, each on disk in time.

`dot` is synced before the final dot is sent and `reply` after the answer came, so that a crash
of anything, this client included, leaves a ledger that is true.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.chaos.content import Kind, Message

_MAIL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Outcome(StrEnum):
    """What the client knows of one attempt."""

    ACCEPTED = "250"
    TRANSIENT = "4xx"
    PERMANENT = "5xx"
    LOST_BEFORE_DOT = "lost_before_dot"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One SMTP transaction, as its client saw it."""

    seq: int
    kind: Kind
    reverse_path: str
    recipients: tuple[str, ...]
    """Those that RCPT was answered 2xx for."""
    sha256: str
    size: int
    dot_at: float = 0.0
    """When the final dot went out; 0: it never did."""
    outcome: Outcome = Outcome.UNKNOWN
    mail_id: str = ""
    reply: str = ""
    replied_at: float = 0.0

    @property
    def seconds(self) -> float:
        """From the dot to the reply."""
        return self.replied_at - self.dot_at if self.replied_at and self.dot_at else 0.0


def outcome_of(reply: str) -> Outcome:
    """By the first digit of the reply."""
    return {"2": Outcome.ACCEPTED, "4": Outcome.TRANSIENT, "5": Outcome.PERMANENT}.get(
        reply[:1], Outcome.UNKNOWN
    )


def mail_id_of(reply: str) -> str:
    """The mail_id in the text of a 250; empty when there is none."""
    found = _MAIL_ID.search(reply)
    return found[0] if found else ""


class Ledger:
    """Appends to the file; every line is synced before the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self.sent = 0
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def dot(self, message: Message, accepted: tuple[str, ...]) -> None:
        """The final dot is about to go out for these recipients."""
        self.sent += 1
        row = Attempt(
            message.seq,
            message.kind,
            message.reverse_path,
            accepted,
            message.sha256,
            len(message.content),
            time.time(),
        )
        self._append({"event": "dot", **asdict(row)})

    def reply(self, message: Message, outcome: Outcome, reply: str = "") -> None:
        """How the attempt ended."""
        self.outcomes[outcome] += 1
        self._append(
            {
                "event": "reply",
                "seq": message.seq,
                "kind": message.kind,
                "outcome": outcome,
                "reply": reply,
                "at": time.time(),
            }
        )

    def _append(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_ledger(path: Path) -> list[Attempt]:
    """All attempts; one that has a dot and no reply is unknown."""
    attempts: dict[int, Attempt] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        seq = int(row["seq"])
        if row.pop("event") == "dot":
            row |= {"kind": Kind(row["kind"]), "outcome": Outcome(row["outcome"])}
            row["recipients"] = tuple(row["recipients"])
            attempts[seq] = Attempt(**row)
            continue
        known = attempts.get(seq) or Attempt(seq, Kind(row["kind"]), "", (), "", 0)
        attempts[seq] = replace(
            known,
            outcome=Outcome(row["outcome"]),
            mail_id=mail_id_of(row["reply"]) if row["outcome"] == Outcome.ACCEPTED else "",
            reply=row["reply"],
            replied_at=row["at"],
        )
    return [attempts[seq] for seq in sorted(attempts)]
