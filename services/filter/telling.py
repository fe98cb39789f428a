"""Telling ingress that no scanner answers, so that mail is refused rather than held."""

from __future__ import annotations

from libs.common.jobs import ENGINES, EngineNotice, encode
from libs.common.queue.protocol import Queue


class Telling:
    """Says `down` at each try that found no scanner, and once that there is one again."""

    def __init__(self, queue: Queue, unscanned: str) -> None:
        self._queue = queue
        self._tells = unscanned == "tempfail"
        self._down = False

    async def down(self, reason: str) -> None:
        """No scanner answered just now."""
        if self._tells:
            self._down = True
            await self._queue.broadcast(ENGINES, encode(EngineNotice(True, reason)))

    async def up(self) -> None:
        """One has answered."""
        if self._down:
            self._down = False
            await self._queue.broadcast(ENGINES, encode(EngineNotice(False)))
