from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from libs.common.queue import QueueError
from libs.common.queue.ready import Ready


@dataclass
class Job:
    name: str
    suspect: bool = False


async def nothing(ready: Ready[Job]) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await ready.take(10)
    except TimeoutError:
        return True
    return False


async def test_a_suspect_is_given_alone() -> None:
    ready: Ready[Job] = Ready(10)
    ready.add([Job("a"), Job("b", True), Job("c")])

    assert [job.name for job in await ready.take(10)] == ["b"]
    assert [job.name for job in await ready.take(10)] == ["a", "c"]


async def test_there_is_never_more_than_one_suspect_out() -> None:
    ready: Ready[Job] = Ready(10)
    ready.add([Job("a", True), Job("b", True)])
    (first,) = await ready.take(10)

    assert await nothing(ready)
    ready.settle(first)
    assert [job.name for job in await ready.take(10)] == ["b"]


async def test_closing_wakes_who_waits() -> None:
    ready: Ready[Job] = Ready(10)
    taking = asyncio.create_task(ready.take(1))
    await asyncio.sleep(0)

    ready.close()

    with pytest.raises(QueueError):
        await taking
