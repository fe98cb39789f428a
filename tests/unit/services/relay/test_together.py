from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.relay.together import Together


async def test_what_waits_together_is_done_together() -> None:
    groups: list[int] = []

    async def work(items: Sequence[int]) -> list[int]:
        groups.append(len(items))
        await asyncio.sleep(0.01)
        return [item * 2 for item in items]

    together = Together(work)

    assert await asyncio.gather(*(together.do(i) for i in range(20))) == [i * 2 for i in range(20)]
    assert sum(groups) == 20
    assert len(groups) <= 2


async def test_one_bad_item_does_no_harm_to_its_group() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        return [10 // item for item in items]

    together = Together(work)

    results = await asyncio.gather(*(together.do(i) for i in (1, 0, 5)), return_exceptions=True)

    assert results[0::2] == [10, 2]
    assert isinstance(results[1], ZeroDivisionError)


async def test_one_who_leaves_does_no_harm_to_the_others() -> None:
    async def work(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.02)
        return items

    together = Together(work)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(together.do(1), 0.001)

    _, result = await asyncio.gather(impatient(), together.do(2))

    assert result == 2
