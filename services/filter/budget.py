"""A budget of octets: how much content may be in memory at one time, whatever comes (I10)."""

from __future__ import annotations

import asyncio
from collections import deque


class OctetBudget:
    """Lends octets in the order in which they are asked for; one over the whole gets it all."""

    def __init__(self, octets: int) -> None:
        self._all = octets
        self._free = octets
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def hold(self, octets: int) -> _Held:
        """Wait until so many are free, and have them until the block's end."""
        return _Held(self, min(octets, self._all))

    def give(self, octets: int) -> None:
        """They are free again."""
        self._free += octets
        self._wake()

    async def take(self, octets: int) -> None:
        """Wait until so many are free; `give` them back."""
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


class _Held:
    """What `async with` holds; a class, because a generator takes five times as long."""

    __slots__ = ("_budget", "_octets")

    def __init__(self, budget: OctetBudget, octets: int) -> None:
        self._budget = budget
        self._octets = octets

    async def __aenter__(self) -> None:
        await self._budget.take(self._octets)

    async def __aexit__(self, *_: object) -> None:
        self._budget.give(self._octets)
