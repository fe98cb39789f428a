"""What is known of each destination: how much it takes at a time, whether it answers at all.

Decisions only: no I/O, and the time comes in.  A destination is the domain of a job.

A good one grows with every answer, as TCP does.  One that does not answer, or says that we come
too often, is left alone for a while, each time for longer, and then gets one attempt to show that
it is well again.  What waits for it meanwhile waits as rows, and costs nobody else anything.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

START = 4.0
"""Attempts at a time at a destination of which nothing is known."""
FIRST_PAUSE, LAST_PAUSE = 5.0, 1800.0
"""Seconds without attempts after the second failure in a row, and at most."""
HORIZON = 5.0
"""Seconds within which what is in hand should have its turn."""
GRACE = 2
"""Failures in a row that may be chance."""
MOST_PUT_OFF = 300.0
MOST_KNOWN = 20_000


@dataclass(slots=True)
class Destination:
    """One domain."""

    limit: float = START
    """Attempts at a time."""
    in_hand: int = 0
    """Claims of this process, running or about to."""
    running: int = 0
    """Of these the ones that have their turn."""
    failures: int = 0
    """In a row, each of the destination as a whole."""
    closed_until: float = 0.0
    slow: bool = False
    """Its last attempt failed or took long, so it must not hold up others."""
    seconds: float = 0.1
    """What an attempt takes, on average."""

    @property
    def room(self) -> bool:
        """Whether another attempt may run now."""
        return self.running < int(self.limit)

    @property
    def pace(self) -> float:
        """Seconds from one attempt to the next, when as many run as may."""
        return max(self.seconds, 0.001) / int(self.limit)

    @property
    def most_in_hand(self) -> int:
        """Claims that may be in hand."""
        # While it is on trial one attempt is enough to find out.
        return 1 if self.failures else max(2 * int(self.limit), int(HORIZON / self.pace))


class Destinations:
    """All that this process had to do with lately."""

    def __init__(self, most: int, longest: float = LAST_PAUSE) -> None:
        """`most`: attempts at a time at one destination; `longest`: pause in seconds."""
        self._most = float(most)
        self._longest = min(longest, LAST_PAUSE)
        self._known: OrderedDict[str, Destination] = OrderedDict()
        self._in_hand = {False: 0, True: 0}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def quick_in_hand(self) -> int:
        """Claims in hand at destinations that are not slow."""
        return self._in_hand[False]

    @property
    def slow_in_hand(self) -> int:
        """Claims in hand at slow ones."""
        return self._in_hand[True]

    def of(self, domain: str) -> Destination:
        """What is known of a domain."""
        known = self._known.get(domain)
        if known is None:
            known = self._known[domain] = Destination(min(START, self._most))
            self._forget()
        self._known.move_to_end(domain)
        return known

    def _forget(self) -> None:
        while len(self._known) > MOST_KNOWN:
            oldest, item = next(iter(self._known.items()))
            if item.in_hand:
                return
            del self._known[oldest]

    def closed_for(self, domain: str, now: float) -> float:
        """Seconds for which it is left alone; 0: it is not."""
        return max(0.0, self.of(domain).closed_until - now)

    def take(self, domain: str) -> None:
        """A claim is in hand."""
        item = self.of(domain)
        item.in_hand += 1
        self._in_hand[item.slow] += 1

    def let_go(self, domain: str) -> None:
        """It is not any more."""
        item = self.of(domain)
        item.in_hand -= 1
        self._in_hand[item.slow] -= 1

    def set_slow(self, domain: str, slow: bool) -> None:
        """Whether it may hold up others."""
        item = self.of(domain)
        self._in_hand[item.slow] -= item.in_hand
        item.slow = slow
        self._in_hand[slow] += item.in_hand

    def ended(self, domain: str, now: float, took: float, *, refused: bool, slow: bool) -> None:
        """An attempt is over; `refused`: the destination as a whole did not want it."""
        item = self.of(domain)
        item.seconds += (took - item.seconds) / 4
        self.set_slow(domain, refused or slow)
        if not refused:
            item.failures, item.closed_until = 0, 0.0
            item.limit = min(self._most, item.limit + 1 / item.limit)
            return
        item.failures += 1
        item.limit = max(1.0, item.limit / 2)
        if item.failures >= GRACE:
            pause = FIRST_PAUSE * 2.0 ** min(item.failures - GRACE, 20)
            item.closed_until = now + min(pause, self._longest)


class Admission:
    """Which of the jobs that are about to be claimed may be; for one transaction."""

    def __init__(self, destinations: Destinations, now: float, most_slow: int) -> None:
        """`most_slow`: claims in hand at all slow destinations together."""
        self._destinations = destinations
        self._now = now
        self._slow_room = most_slow - destinations.slow_in_hand
        self._taken: dict[str, int] = {}
        self._turns: dict[str, float] = {}
        self.refused = 0
        """How many were put off."""

    def put_off(self, domain: str) -> float:
        """Seconds until the job may come again; 0: take it in hand.

        In hand is what has its turn soon, at the pace that the destination has shown; for the
        others that pace gives the time.
        """
        wait = self._wait(domain, self._destinations.of(domain))
        self.refused += wait > 0
        return wait

    def _wait(self, domain: str, item: Destination) -> float:
        closed = self._destinations.closed_for(domain, self._now)
        if closed:
            return closed
        taken = self._taken.get(domain, 0)
        if item.in_hand + taken < item.most_in_hand and (not item.slow or self._slow_room > 0):
            self._taken[domain] = taken + 1
            self._slow_room -= item.slow
            return 0.0
        return self._turn(domain, item)

    def _turn(self, domain: str, item: Destination) -> float:
        turn = self._turns.get(domain, max(1.0, item.in_hand * item.pace)) + item.pace
        self._turns[domain] = turn
        return min(turn, MOST_PUT_OFF)
