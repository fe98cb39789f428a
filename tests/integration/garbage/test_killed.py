"""A pass that is killed at any of its steps loses nothing, and the next ones finish its work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.blobstore import open_blobstore
from libs.common.db import open_database
from libs.common.queue import open_queue
from tests.chaos.failpoints import Failpoints, discover
from tests.conftest import ROOT
from tests.integration.garbage.world import World
from tests.servers.schema import at_head

STEPS = [name for name in discover(ROOT) if name.startswith("gc.")]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def _open(folder: Path) -> World:
    database = open_database(f"sqlite:///{folder}/holub.db")
    await at_head(database)
    url = f"file:{folder}/blobs"
    queue = open_queue(f"sqlite:///{folder}/queue.db")
    await create_domain(database, "example.test")
    (account,) = await create_accounts(database, ["alice@example.test"], "")
    return World(database, url, open_blobstore(url), queue, account)


async def _fill(world: World) -> None:
    """Every kind of content; of each filling 5 messages and one unfinished one are needed."""
    start = (await world.append(20))[0]
    for _ in range(3):
        mail = await world.accept()
        await world.filter(mail)
        await world.deliver(mail)
    await world.expunge(range(start, start + 18))
    await world.expire()
    await world.reopen()
    unfinished = await world.accept()
    await world.filter(unfinished)
    await world.reopen()
    await world.expunge(await world.append(1))
    await world.expire()
    await world.reopen()


class Passes:
    """The process that collects, started once, for its imports take longest."""

    def __init__(self, folder: Path, failpoints: Failpoints) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.garbage.passes", str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **failpoints.environment},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def collect(self, *days: int) -> int:
        """Collect on these days from now; the exit code."""
        assert self._process.stdin
        assert self._process.stdout
        print(*days, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def test_there_is_a_failpoint_at_each_step() -> None:
    assert len(STEPS) >= 9


@pytest.mark.timeout(300)
def test_killed_at_any_step_it_loses_nothing_and_leaves_nothing(
    tmp_path: Path, runner: asyncio.Runner
) -> None:
    world = runner.run(_open(tmp_path))
    failpoints = Failpoints(tmp_path / "failpoints")
    passes = Passes(tmp_path, failpoints)
    day = 0
    for step in STEPS:
        runner.run(_fill(world))
        shown = runner.run(world.shows())
        failpoints.arm(f"{step} kill once")

        assert passes.collect(day + 8, day + 10, day + 42) == -signal.SIGKILL, step
        runner.run(world.all_readable())
        failpoints.arm()
        assert passes.collect(day + 43, day + 45, day + 77, day + 79, day + 111) == 0, step

        runner.run(world.all_readable())
        assert runner.run(world.shows()) == shown, step
        assert runner.run(world.marks()) == {}, step
        # What is left is what is needed, and at most as much dead content beside it.
        needed = len(shown) + STEPS.index(step) + 1
        assert runner.run(world.octets()) < 2 * 2500 * needed, step
        day += 120
    passes.close()
    for part in (world.queue, world.blobs, world.database):
        runner.run(part.close())
