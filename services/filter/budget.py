"""A budget of octets: how much content may be in memory at one time, whatever comes (I10)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OctetBudget:
    """Lends octets in the order in which they are asked for; one over the whole gets it all."""

    def __init__(self, octets: int) -> None:
        self._all = octets
        self._free = octets
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, octets: int) -> AsyncIterator[None]:
        """Wait until so many are free, and have them until the block's end."""
        octets = min(octets, self._all)
        await self._take(octets)
        try:
            yield
        finally:
            self._free += octets
            self._wake()

    async def _take(self, octets: int) -> None:
        if not self._waiting and octets <= self._free:
            self._free -= octets
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += octets
            else:
                self._waiting.remove((octets, turn))
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            octets, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= octets
                turn.set_result(None)
