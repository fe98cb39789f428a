"""Jobs that are here and wait to be taken, and the two rules of giving them out.

At most `prefetch` leases are out at a time.  A suspect, which comes again after its holder died,
is given alone and while no other suspect is out: if it kills once more, no other suspect is
counted with it, and the others that die with it become suspects, to be tried alone in turn.  So
a job is blamed for at most one crash of every other killer, and only a killer for all of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from libs.common.queue.protocol import QueueError


class _Lease(Protocol):
    suspect: bool


L = TypeVar("L", bound=_Lease)


class Ready(Generic[L]):
    """The waiting leases of one consumer."""

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._waiting: deque[L] = deque()
        self._suspects: deque[L] = deque()
        self._suspect_out = False
        self._out = 0
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._suspects)

    @property
    def out(self) -> int:
        """How many leases are given out and not settled."""
        return self._out

    def add(self, leases: Iterable[L]) -> None:
        """These may be taken from now on."""
        for lease in leases:
            (self._suspects if lease.suspect else self._waiting).append(lease)
        self._wake.set()

    async def take(self, most: int) -> list[L]:
        """Wait for leases and give up to `most`; nothing is lost when the wait is cancelled."""
        while not self._closed:
            if given := self._give(most):
                return given
            self._wake.clear()
            await self._wake.wait()
        raise QueueError("the consumer is closed")

    def _give(self, most: int) -> list[L]:
        room = min(most, self._prefetch - self._out)
        if room <= 0:
            return []
        if self._suspects and not self._suspect_out:
            self._suspect_out = True
            given = [self._suspects.popleft()]
        else:
            given = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        self._out += len(given)
        return given

    def settle(self, lease: L) -> None:
        """A lease that was given out is no more."""
        self._out -= 1
        if lease.suspect:
            self._suspect_out = False
        self._wake.set()

    def clear(self) -> None:
        """Forget what waits; what is out stays out."""
        self._waiting.clear()
        self._suspects.clear()

    def close(self) -> None:
        """Give nothing any more."""
        self._closed = True
        self.clear()
        self._wake.set()
