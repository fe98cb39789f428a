"""Routines: tasks that go on until whoever began them says that it is enough."""

from __future__ import annotations

import asyncio
import contextlib


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a routine, and return when it has stopped; None: it was never begun."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
