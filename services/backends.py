"""At the start: wait for what a role needs, as long as it takes.

An outage of a backend ends nobody who runs, so it must not end one who starts either.  Meanwhile
/readyz says what is waited for, and SIGTERM is obeyed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libs.common.blobstore.protocol import BlobError, BlobMissing, BlobRef
from libs.common.db import Database, DatabaseUnavailable
from libs.common.queue.protocol import QueueError
from libs.common.runtime.log import get_logger
from services.platform import Platform

log = get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_AWAY = (DatabaseUnavailable, BlobError, QueueError, TimeoutError)

NEEDS: dict[str, tuple[str, ...]] = {
    # Whoever takes mail goes on without a broker: what is durable is put on a queue later.
    "ingress": ("database", "blob store"),
    "imap": ("database", "blob store"),
    "pop3": ("database", "blob store"),
    "managesieve": ("database",),
    "api": ("database",),
}
"""Roles that do not need all three."""


class Backends:
    """What was reached, asked once for all roles of a process."""

    def __init__(
        self, platform: Platform, check_schema: Callable[[Database], Awaitable[None]]
    ) -> None:
        self._platform = platform
        self._check_schema = check_schema
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def reached(self, role: str) -> bool:
        """True when the role may start; False when it is time to stop before that."""
        for name in NEEDS.get(role, ("database", "blob store", "queue")):
            if name not in self._asked:
                self._asked[name] = asyncio.create_task(self._reach(name))
            if not await self._unless_stopped(self._asked[name]):
                return False
        return True

    async def _unless_stopped(self, asked: asyncio.Task[None]) -> bool:
        stop = asyncio.create_task(self._platform.stopping.wait())
        try:
            await asyncio.wait({asked, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if not asked.done():
            return False
        asked.result()
        return not self._platform.stopping.is_set()

    async def _reach(self, name: str) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._ask(name)
            except _AWAY as error:
                log.warning(f"waiting for the {name}", error=str(error), again_seconds=pause)
                self._platform.health.wait_for(name)
            else:
                self._platform.health.wait_for(name, reached=True)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _ask(self, name: str) -> None:
        if name == "database":
            await self._platform.database.reach()
            await self._check_schema(self._platform.database)
        elif name == "queue":
            await self._platform.queue.depth("filter")
        else:
            try:
                await self._platform.blobs.read(BlobRef("mail/0", 0, 1))
            except BlobMissing:
                return  # an answer, which is all that was wanted

    async def close(self) -> None:
        """Ask no more."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
