"""A message's way in words, for people who do not know what a queue is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_STATES = {
    "delivered": "It is in the mailbox",
    "relayed": "The other mail server has taken it",
    "forwarded": "It was sent on",
    "deferred": "It waits for the next attempt",
    "quarantined": "It is held in quarantine",
    "bounced": "It could not be delivered, and the sender was told",
    "discarded": "It was removed by a rule",
    "refused": "We refused it, so the sending server has told the sender",
    "parked": "It is held for an operator, because a job could not be done",
}
_NEXT = {
    "quarantined": "an administrator sees it with: holub quarantine list",
    "parked": "look with: holub parked list; put it back with: holub parked replay ID",
    "deferred": "see what waits with: holub queue waiting",
}


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def explain(story: Mapping[str, Any]) -> list[str]:
    """Sentences: how it came, what became of each recipient, and what to do next."""
    return [*_arrival(story), *_fates(story), *_what_next(story)]


def _arrival(story: Mapping[str, Any]) -> list[str]:
    steps: Sequence[Mapping[str, Any]] = story["steps"]
    for step in steps:
        if step["what"] == "accepted":
            return [f"We took responsibility for it at {_clock(step['at'])} ({step['why']})."]
    for step in steps:
        if step["what"] == "refused":
            return [f"We refused it at {_clock(step['at'])}: {step['why']}."]
    return ["We have its record, but nothing is written yet of how it came."]


def _fates(story: Mapping[str, Any]) -> list[str]:
    told = []
    known = set()
    for state in story["recipients"]:
        known.add(state["recipient"])
        whom = state["recipient"] or "The whole message"
        words = _STATES.get(state["state"], state["state"])
        detail = f": {state['detail']}" if state["detail"] else ""
        told.append(f"{whom}: {words}{detail}.")
    waiting = {s["recipient"] for s in story["steps"] if s["recipient"]} - known
    refused = {s["recipient"] for s in story["steps"] if s["what"] == "refused"}
    told += [f"{item}: It is on its way inside Holub." for item in sorted(waiting - refused)]
    if not told and any(step["what"] == "accepted" for step in story["steps"]):
        told.append("It is on its way inside Holub; no recipient has a final state yet.")
    return told


def _what_next(story: Mapping[str, Any]) -> list[str]:
    states = dict.fromkeys(state["state"] for state in story["recipients"])
    texts = [_NEXT[state].format(mail_id=story["mail_id"]) for state in states if state in _NEXT]
    return [f"Next: {text}." for text in texts]
