"""Who may run now: two lanes, and in each of them every destination in its turn.

The quick lane is for destinations that answer.  An attempt that takes long goes over to the slow
lane, and so do all later ones at its destination until it is quick again.  So those who answer
slowly, or not at all, stand in each other's way only.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.relay.destinations import Destination, Destinations


@dataclass(slots=True, eq=False)
class Turn:
    """One attempt, waiting or running."""

    domain: str
    slow: bool = False
    """In the slow lane."""
    refused: bool = False
    """Set by whoever ran it: the destination as a whole did not want it."""
    late: bool = False
    """It took long."""
    skipped: bool = False
    """Set by whoever had it: there was no attempt."""
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class Lanes:
    """Gives turns; one per process."""

    def __init__(
        self,
        destinations: Destinations,
        most: int,
        slow_seconds: float,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed`: called when a destination turns out to be slow."""
        self._changed = changed
        self._destinations = destinations
        self._most = most
        self._slow_seconds = slow_seconds
        self._running = {False: 0, True: 0}
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()
        self._late: dict[Turn, None] = {}

    @asynccontextmanager
    async def turn(self, domain: str) -> AsyncIterator[Turn]:
        """Wait for a turn at a domain, and hold it."""
        turn = Turn(domain)
        self._waiting.setdefault(domain, deque()).append(turn)
        self._grant()
        try:
            await turn.granted.wait()
        except BaseException:
            self._leave(turn)
            raise
        start = time.monotonic()
        watch = asyncio.get_running_loop().call_later(self._slow_seconds, self.go_over, turn)
        try:
            yield turn
        finally:
            watch.cancel()
            if not turn.skipped:
                now = time.monotonic()
                self._destinations.ended(
                    domain, now, now - start, refused=turn.refused, slow=turn.late
                )
            self._end(turn)

    def _leave(self, turn: Turn) -> None:
        """It was given up while it waited, or just when its turn had come."""
        if turn.granted.is_set():
            self._end(turn)
            return
        self._waiting[turn.domain].remove(turn)
        if not self._waiting[turn.domain]:
            del self._waiting[turn.domain]

    def _end(self, turn: Turn) -> None:
        self._running[turn.slow] -= 1
        self._destinations.of(turn.domain).running -= 1
        self._late.pop(turn, None)
        self._move_over()
        self._grant()

    def go_over(self, turn: Turn) -> None:
        """To the slow lane, as soon as there is room; its place is free for others."""
        turn.late = True
        self._destinations.set_slow(turn.domain, True)
        self._changed()
        if turn.slow:
            return
        self._late[turn] = None
        self._move_over()
        self._grant()

    def _move_over(self) -> None:
        """Late turns of the quick lane to the slow one while it has room, the oldest first."""
        while self._late and self._running[True] < self._most:
            turn = next(iter(self._late))
            del self._late[turn]
            turn.slow = True
            self._running[False] -= 1
            self._running[True] += 1

    def _grant(self) -> None:
        """Give turns while there are places: to each domain one, and then from the start."""
        given = True
        while given and self._waiting:
            given = False
            for domain in list(self._waiting):
                if self._running[False] >= self._most and self._running[True] >= self._most:
                    return
                given = self._give(domain, self._destinations.of(domain)) or given

    def _give(self, domain: str, destination: Destination) -> bool:
        lane = destination.slow
        if self._running[lane] >= self._most or not destination.room:
            return False
        turns = self._waiting[domain]
        turn = turns.popleft()
        # Whoever had a turn goes to the end of the row.
        self._waiting.move_to_end(domain)
        if not turns:
            del self._waiting[domain]
        turn.slow = lane
        self._running[lane] += 1
        destination.running += 1
        turn.granted.set()
        return True
