"""How many sessions one address, and one IPv6 /64, has at the same time in all replicas together.

Each replica knows its own exactly.  Of the others it hears through `Limits`: in each window of a
few seconds every replica tells how many it has open; so what a replica that died had is forgotten
with the window.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from libs.common.limits import Limit, Limits, network_keys
from libs.common.runtime.routine import end
from libs.protocols.smtp.reply import Reply

WINDOW = 5
NETWORK_FACTOR = 3
"""A /64 may have so many times what an address may."""


class Connections:
    """The sessions of strangers in this process."""

    def __init__(self, limits: Limits, most: int) -> None:
        self._counts = limits.counts
        self._most = most
        self._open: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tell the others from now on."""
        if self._most:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """No more."""
        await end(self._task)

    def enter(self, ip: str) -> Reply | None:
        """One more; or why there may be none (then it is not counted)."""
        now, keys = time.time(), network_keys(ip) if self._most else ()
        for key in keys:
            limit = self._limit(key)
            shared = f"open:{key}"
            if self._open[key] + self._counts.elsewhere(shared, limit, now) >= limit.most:
                text = f"too many connections of {key.partition('/')[2]} at once; close some"
                return Reply(421, "4.7.0", f"{text} (rule connections)")
        for key in keys:
            self._open[key] += 1
            self._counts.add(f"open:{key}", self._limit(key), now)
        return None

    def leave(self, ip: str) -> None:
        """One fewer."""
        for key in network_keys(ip) if self._most else ():
            self._open[key] -= 1
            if self._open[key] <= 0:
                del self._open[key]

    def tell(self, now: float) -> None:
        """Count what is open in the window that begins."""
        for key, count in self._open.items():
            self._counts.add(f"open:{key}", self._limit(key), now, count)

    async def _run(self) -> None:
        while True:
            # Just into each window, so that it counts once there.
            await asyncio.sleep(WINDOW - time.time() % WINDOW + 0.01)
            self.tell(time.time())

    def _limit(self, key: str) -> Limit:
        return Limit(self._most * (NETWORK_FACTOR if key.startswith("net/") else 1), WINDOW)
