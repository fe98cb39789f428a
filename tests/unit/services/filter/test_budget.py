from __future__ import annotations

import asyncio

import pytest

from services.filter.budget import OctetBudget


async def test_what_is_held_at_once_never_passes_the_budget() -> None:
    budget, held, most = OctetBudget(100), 0, 0

    async def hold(octets: int) -> None:
        nonlocal held, most
        async with budget.hold(octets):
            held += octets
            most = max(most, held)
            await asyncio.sleep(0)
            held -= octets

    await asyncio.gather(*(hold(30 + i % 3) for i in range(50)))

    assert 60 <= most <= 100


async def test_content_larger_than_the_budget_goes_alone() -> None:
    budget = OctetBudget(100)

    async with budget.hold(1000):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), budget.hold(1):
                pass

    async with budget.hold(100):
        pass


async def test_a_large_one_is_not_passed_for_ever_by_small_ones() -> None:
    budget, order = OctetBudget(10), []

    async def hold(name: str, octets: int) -> None:
        async with budget.hold(octets):
            order.append(name)
            await asyncio.sleep(0.005)

    await asyncio.gather(hold("first", 6), hold("large", 10), hold("small", 2))

    assert order == ["first", "large", "small"]


async def test_one_who_gives_up_waiting_takes_nothing_along() -> None:
    budget = OctetBudget(10)

    async with budget.hold(10):
        waiting = asyncio.create_task(budget.hold(10).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async with asyncio.timeout(1), budget.hold(10):
        pass
