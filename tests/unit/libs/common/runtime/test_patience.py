from __future__ import annotations

import asyncio

import pytest

from libs.common.runtime.patience import Patience


async def value(result: int, seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    return result


async def test_what_is_in_time_gives_its_result() -> None:
    patience = Patience(30)

    assert await asyncio.gather(*(patience.within(value(n)) for n in range(50))) == list(range(50))


async def test_what_takes_too_long_is_cancelled_and_says_so() -> None:
    patience, cancelled = Patience(0.02), asyncio.Event()

    async def stuck() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        await patience.within(stuck())

    assert cancelled.is_set()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    assert await patience.within(value(1)) == 1


async def test_slow_ones_expire_among_quick_ones() -> None:
    patience = Patience(0.05)

    results = await asyncio.gather(
        *(patience.within(value(n, 60 if n % 3 == 0 else 0)) for n in range(30)),
        return_exceptions=True,
    )

    assert [n for n, one in enumerate(results) if isinstance(one, TimeoutError)] == list(
        range(0, 30, 3)
    )


async def test_a_cancellation_by_somebody_else_goes_on() -> None:
    patience = Patience(30)
    task = asyncio.create_task(patience.within(value(1, 60)))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_waits_inside_each_other_expire_each_at_its_own_bound() -> None:
    inner, outer = Patience(0.02), Patience(30)

    with pytest.raises(TimeoutError):
        await outer.within(inner.within(value(1, 60)))

    outer, inner = Patience(0.02), Patience(30)
    with pytest.raises(TimeoutError):
        await outer.within(inner.within(value(1, 60)))


async def test_a_failure_is_the_caller_s() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Patience(30).within(fails())


async def test_nothing_is_kept_of_waits_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.common.runtime.patience._LOOK_SECONDS", 0.01)
    patience = Patience(30)
    await asyncio.gather(*(patience.within(value(n)) for n in range(50)))

    await asyncio.sleep(0.05)

    assert not patience._waits
    assert patience._timer is None
