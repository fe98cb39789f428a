"""How long short waits may take: one timer for all of them.

`asyncio.timeout` makes a timer for each wait, which on the way of a message is a tenth of what its
acceptance costs.  Waits with the same bound expire in the order in which they began, so a queue
and one timer are enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 1.0
"""The timer looks at least so often, so that what ended is not kept for longer."""


class _Wait:
    __slots__ = ("cancelling", "deadline", "ended", "expired", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task = task
        self.cancelling = task.cancelling()
        self.deadline = deadline
        self.ended = False
        self.expired = False


class Patience:
    """Waits of at most `seconds` each; used on one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waits: deque[_Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, awaitable: Awaitable[T]) -> T:
        """Its result; `TimeoutError` when it took too long, after it was cancelled."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        wait = _Wait(task, loop.time() + self.seconds)
        self._waits.append(wait)
        if self._timer is None:
            self._arm(loop)
        try:
            return await awaitable
        except asyncio.CancelledError as error:
            # As in asyncio.timeout: a cancellation by somebody else goes on as what it is.
            if wait.expired:
                wait.expired = False
                if task.uncancel() <= wait.cancelling:
                    raise TimeoutError from error
            raise
        finally:
            wait.ended = True
            if wait.expired:
                # It ended otherwise after all: with a result, or with another exception.
                task.uncancel()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        at = min(self._waits[0].deadline, loop.time() + _LOOK_SECONDS)
        self._timer = loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        while self._waits and (self._waits[0].ended or self._waits[0].deadline <= now):
            wait = self._waits.popleft()
            if not wait.ended:
                wait.expired = True
                wait.task.cancel()
        if self._waits:
            self._arm(loop)
