"""Broadcasts and replies within one process, for the embedded queue; bounded and lossy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

_MOST = 10_000


class Exchange:
    """Hands every body to every listener of its topic; a listener that sleeps loses the oldest."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Queue[bytes]]] = {}

    def send(self, topic: str, bodies: Iterable[bytes]) -> None:
        """Tell everybody who listens now."""
        for body in bodies:
            for listener in self._listeners.get(topic, ()):
                if listener.full():
                    listener.get_nowait()
                listener.put_nowait(body)

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """From this call on, not only from the first `anext`."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST)
        self._listeners.setdefault(topic, set()).add(queue)
        return self._bodies(topic, queue)

    async def _bodies(self, topic: str, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners[topic].discard(queue)
