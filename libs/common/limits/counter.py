"""Counting in a sliding window, of two fixed ones: pure, time comes in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MOST_KEYS = 100_000
"""Keys counted; over that, those that were hit least recently are forgotten."""
SHARED_FROM = 20
"""A count is told to the other replicas from this part (1/20) of its limit on."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` in `seconds`; 0 means no limit."""

    most: int
    seconds: int


@dataclass(slots=True)
class Count:
    """What is known of one key in one window."""

    window: int
    seconds: int
    ours: int = 0
    """Hits in this process that the others know of."""
    unshared: int = 0
    """Hits that they do not know of yet."""
    total: int = 0
    """Hits in all replicas, as of the last exchange; includes `ours`."""
    before: int = 0
    """Hits in the window before."""
    ours_before: int = 0
    """Those of them that were in this process."""

    @property
    def hits(self) -> int:
        """Everything that is known of this window."""
        return max(self.total, self.ours) + self.unshared


class Counts:
    """The counts of one process."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, Count] = OrderedDict()
        self.changed: set[str] = set()
        """Keys whose counts are to be shared."""
        self._watched: set[str] = set()

    def __contains__(self, key: str) -> bool:
        """Is anything known of this key?"""
        return key in self._counts

    def estimate(self, key: str, limit: Limit, now: float) -> float:
        """How many hits there were in the last `limit.seconds`, evenly spread in the past."""
        known = self._counts.get(key)
        if known is None:
            return 0.0
        _turn(known, now)
        part = (now % limit.seconds) / limit.seconds
        return known.hits + known.before * (1.0 - part)

    def elsewhere(self, key: str, limit: Limit, now: float) -> int:
        """Hits that only other replicas had, in this window or the one before: whichever has more.

        For what each replica tells anew in every window.
        """
        known = self._counts.get(key)
        if known is None:
            return 0
        _turn(known, now)
        return max(known.total - known.ours, known.before - known.ours_before, 0)

    def allows(self, key: str, limit: Limit, now: float, cost: int = 1) -> bool:
        """May it happen `cost` times more?  Counts nothing."""
        return not limit.most or self.estimate(key, limit, now) + cost <= limit.most

    def hit(self, key: str, limit: Limit, now: float, cost: int = 1) -> bool:
        """Count it when it is allowed; False when it is not, and was not counted."""
        if not limit.most:
            return True
        if self.estimate(key, limit, now) + cost > limit.most:
            return False
        self.add(key, limit, now, cost)
        return True

    def add(self, key: str, limit: Limit, now: float, cost: int = 1) -> float:
        """Count it, allowed or not; the estimate with it."""
        window = int(now // limit.seconds)
        known = self._counts.get(key)
        if known is None:
            known = self._counts[key] = Count(window, limit.seconds)
            if len(self._counts) > MOST_KEYS:
                gone, _ = self._counts.popitem(last=False)
                self.changed.discard(gone)
        self._counts.move_to_end(key)
        _turn(known, now)
        known.unshared += cost
        if known.hits * SHARED_FROM >= limit.most:
            self.changed.add(key)
        return self.estimate(key, limit, now)

    def take(self) -> dict[tuple[str, int, int], int]:
        """(key, window, its seconds) -> hits that are now to be told; they count as told."""
        told = {}
        for key in self.changed:
            if (known := self._counts.get(key)) is not None:
                told[key, known.window, known.seconds] = known.unshared
                known.ours += known.unshared
                known.total += known.unshared
                known.unshared = 0
        self._watched |= self.changed
        self.changed.clear()
        return told

    def watched(self, now: float) -> list[str]:
        """Keys that were shared in the window that still lasts: others may count them, too."""
        counts = self._counts
        self._watched = {
            key
            for key in self._watched
            if key in counts and counts[key].window == int(now // counts[key].seconds)
        }
        return list(self._watched)

    def untold(self, told: dict[tuple[str, int, int], int]) -> None:
        """They could not be told: next time."""
        for (key, window, _), hits in told.items():
            known = self._counts.get(key)
            if known is not None and known.window == window:
                known.ours -= hits
                known.total -= hits
                known.unshared += hits
                self.changed.add(key)

    def learn(self, key: str, window: int, total: int) -> None:
        """What all replicas together have counted."""
        known = self._counts.get(key)
        if known is not None and known.window == window:
            known.total = total
        elif known is not None and known.window == window + 1:
            known.before = max(known.before, total)

    def forget(self, key: str) -> None:
        """Somebody was right: what went before does not count."""
        self._counts.pop(key, None)
        self.changed.discard(key)


def _turn(known: Count, now: float) -> None:
    window = int(now // known.seconds)
    if window == known.window:
        return
    follows = window == known.window + 1
    known.before = known.hits if follows else 0
    known.ours_before = known.ours + known.unshared if follows else 0
    known.window = window
    known.ours = known.unshared = known.total = 0
