"""What a spam engine is asked and answers, and when it is left alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from libs.common.jobs import RecordHeader
from services.filter.authentication import Authentication

REST_SECONDS = 5.0
"""How long a daemon that failed is left alone."""
MAX_TESTS = 100
"""Names of rules that are kept of one answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message with all that is known of how it came."""

    header: RecordHeader
    content: bytes
    found: Authentication | None = None
    """What its sender's authentication found; None: that was not looked at."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one engine thinks of a message."""

    engine: str
    points: float
    """The more, the less wanted; each engine has a scale of its own."""
    tests: tuple[str, ...] = ()
    """The rules that matched."""


class Engine(Protocol):
    """A spam engine.  Both methods raise `Unavailable` or `EngineFailed`."""

    name: str

    async def score(self, question: Question) -> Score:
        """How much like spam it looks."""

    async def learn(self, content: bytes, *, spam: bool, owner: str) -> None:
        """Remember that `owner` wants this, or does not; twice is as good as once."""

    async def close(self) -> None:
        """End all connections."""


class Turn:
    """When a daemon is asked: after a failure it rests, and then one question at a time tries it.

    So a daemon that hangs costs one message its patience and not all of them.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._failed = False
        self._until = 0.0

    def take(self) -> bool:
        """Whether to ask it now."""
        if not self._failed:
            return True
        now = time.monotonic()
        if now < self._until:
            return False
        self._until = now + self._patience
        return True

    def answered(self) -> None:
        """It is well."""
        self._failed = False

    def failed(self) -> None:
        """It did not answer."""
        self._failed = True
        self._until = time.monotonic() + REST_SECONDS
