from __future__ import annotations

import asyncio

import pytest

from services.relay.destinations import Destinations
from services.relay.lanes import Lanes, Turn


class Room:
    """Attempts that run until they are told to end, and the order in which they began."""

    def __init__(self, most: int, by_destination: int = 20) -> None:
        self.known = Destinations(by_destination)
        self.lanes = Lanes(self.known, most, 3600)
        self.turns: dict[str, Turn] = {}
        self.began: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, *names: str) -> None:
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._run(name))

    async def _run(self, name: str) -> None:
        async with self.lanes.turn(name.split("/")[0]) as turn:
            self.turns[name] = turn
            self.began.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_run_at_a_destination_than_it_takes() -> None:
    room = Room(10, by_destination=2)
    room.add("a/1", "a/2", "a/3", "b/1")
    await settled()
    assert room.began == ["a/1", "a/2", "b/1"]

    await room.end("a/1")

    assert room.began[-1] == "a/3"


async def test_places_go_round_among_those_who_wait() -> None:
    room = Room(1)
    room.add("a/1", "a/2", "a/3", "b/1", "c/1")
    await settled()

    for name in ("a/1", "a/2", "b/1", "c/1"):
        await room.end(name)

    assert room.began == ["a/1", "a/2", "b/1", "c/1", "a/3"]


async def test_what_takes_long_makes_room_and_those_behind_it_wait_apart() -> None:
    room = Room(2)
    room.add("tarpit/1", "tarpit/2", "quick/1")
    await settled()
    assert room.began == ["tarpit/1", "tarpit/2"]

    for name in ("tarpit/1", "tarpit/2"):
        # What the timer does when it took too long.
        room.lanes.go_over(room.turns[name])
    room.add("tarpit/3", "quick/2")
    await settled()
    assert room.began == ["tarpit/1", "tarpit/2", "quick/1", "quick/2"]

    await room.end("tarpit/1")
    assert room.began[-1] == "tarpit/3"


async def test_who_found_the_slow_lane_full_goes_over_when_a_place_is_free() -> None:
    room = Room(1)
    room.add("tarpit/1")
    await settled()
    room.lanes.go_over(room.turns["tarpit/1"])
    room.add("morass/1", "quick/1")
    await settled()
    room.lanes.go_over(room.turns["morass/1"])
    assert room.began == ["tarpit/1", "morass/1"]

    await room.end("tarpit/1")

    assert room.turns["morass/1"].slow
    assert room.began[-1] == "quick/1"


async def test_one_that_is_given_up_leaves_its_place_to_the_next() -> None:
    room = Room(1)
    room.add("a/1", "a/2", "b/1")
    await settled()
    room.tasks["a/2"].cancel()
    room.tasks["a/1"].cancel()
    await settled()

    assert room.began == ["a/1", "b/1"]
    await room.end("b/1")


@pytest.mark.parametrize("skipped", [True, False])
async def test_a_turn_without_an_attempt_teaches_nothing(skipped: bool) -> None:
    room = Room(1)
    before = room.known.of("a").limit

    async with room.lanes.turn("a") as turn:
        turn.skipped = skipped

    assert (room.known.of("a").limit == before) is skipped
