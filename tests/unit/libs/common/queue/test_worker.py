from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from libs.common.queue import Lease, Queue, open_queue, worker
from libs.common.queue.worker import Handle, Poison, Worker


class BackendAwayError(Exception):
    """Stands for a database that does not answer."""


class Role:
    """A worker at work, and what became of the jobs."""

    def __init__(self, queue: Queue, handle: Handle, **options: object) -> None:
        self.queue = queue
        self.parked: list[tuple[bytes, str]] = []
        self.stopping = asyncio.Event()
        options = {"transient": (BackendAwayError,), **options}
        self.worker = Worker(queue, "filter", handle, self.park, **options)  # type: ignore[arg-type]
        self.task = asyncio.create_task(self.worker.run(self.stopping))

    async def park(self, lease: Lease, reason: str) -> None:
        self.parked.append((lease.body, reason))

    async def until_empty(self) -> None:
        async with asyncio.timeout(20):
            while (await self.queue.depth("filter")).jobs:
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(10):
            await self.task


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    yield queue
    await queue.close()


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "DELAYS", (0.05, 0.1))
    monkeypatch.setattr(worker, "MAX_PAUSE", 0.2)


class Done:
    """A handler that fails for some jobs and remembers the others."""

    def __init__(self, bad: bytes = b"", error: Exception | None = None) -> None:
        self.bad = bad
        self.error = error or RuntimeError("a bug")
        self.done: list[bytes] = []
        self.calls = 0

    async def __call__(self, leases: Sequence[Lease]) -> None:
        self.calls += 1
        if any(lease.body == self.bad for lease in leases):
            raise self.error
        self.done += [lease.body for lease in leases]


JOBS = [b"%d" % number for number in range(100)]


async def test_every_job_is_handled_once_when_nothing_fails(queue: Queue) -> None:
    handle = Done()
    await queue.put("filter", JOBS)
    role = Role(queue, handle, most=7, concurrency=3)

    await role.until_empty()
    await role.stop()

    assert sorted(handle.done) == sorted(JOBS)
    assert not role.parked


async def test_one_failing_job_is_found_and_parked_after_its_attempts(queue: Queue) -> None:
    handle = Done(b"42")
    await queue.put("filter", JOBS)
    role = Role(queue, handle, max_attempts=3)

    await role.until_empty()
    await role.stop()

    assert sorted(handle.done) == sorted(set(JOBS) - {b"42"})
    assert role.parked == [(b"42", "RuntimeError: a bug")]


@pytest.mark.parametrize("error", [Poison("no such version"), msgspec.DecodeError("torn")])
async def test_a_job_that_can_never_be_done_is_parked_at_once(
    queue: Queue, error: Exception
) -> None:
    handle = Done(b"42", error)
    await queue.put("filter", JOBS)
    role = Role(queue, handle)

    await role.until_empty()
    await role.stop()

    assert [body for body, _ in role.parked] == [b"42"]
    assert str(error) in role.parked[0][1]
    assert len(handle.done) == 99


async def test_an_outage_is_waited_for_and_counts_for_no_job(queue: Queue) -> None:
    """Else an hour without a database would park everything."""
    failures = 30
    attempts: set[int] = set()

    async def handle(leases: Sequence[Lease]) -> None:
        nonlocal failures
        failures -= 1
        if failures > 0:
            raise BackendAwayError
        attempts.update(lease.attempt for lease in leases)

    await queue.put("filter", JOBS)
    role = Role(queue, handle, max_attempts=2, most=100)

    await role.until_empty()
    await role.stop()

    assert attempts == {0}
    assert not role.parked


async def test_stopping_amid_an_outage_gives_the_jobs_back_as_they_were(queue: Queue) -> None:
    async def handle(leases: Sequence[Lease]) -> None:
        raise BackendAwayError

    await queue.put("filter", [b"job"])
    role = Role(queue, handle)
    await asyncio.sleep(0.3)
    await role.stop()

    (lease,) = await (await queue.consume("filter", 1)).take(1)
    assert (lease.body, lease.attempt, lease.suspect) == (b"job", 0, False)


async def test_stopping_finishes_what_is_in_hand_and_takes_nothing_more(queue: Queue) -> None:
    started = asyncio.Event()
    done: list[bytes] = []

    async def handle(leases: Sequence[Lease]) -> None:
        started.set()
        await asyncio.sleep(0.3)
        done.extend(lease.body for lease in leases)

    await queue.put("filter", JOBS[:10])
    role = Role(queue, handle, most=4)
    await started.wait()
    await role.stop()

    assert done == JOBS[:4]
    assert (await queue.depth("filter")).jobs == 6


async def test_a_slow_job_does_not_hold_up_other_batches(queue: Queue) -> None:
    release = asyncio.Event()
    done: list[bytes] = []

    async def handle(leases: Sequence[Lease]) -> None:
        if leases[0].body == b"0":
            await release.wait()
        done.extend(lease.body for lease in leases)

    await queue.put("filter", JOBS)
    role = Role(queue, handle, most=1, concurrency=2)
    async with asyncio.timeout(10):
        while len(done) < 99:
            await asyncio.sleep(0.02)
    release.set()
    await role.until_empty()
    await role.stop()

    assert done[-1] == b"0"


async def test_a_job_that_cannot_be_parked_comes_again(queue: Queue) -> None:
    fail = True

    class Failing(Role):
        async def park(self, lease: Lease, reason: str) -> None:
            if fail:
                raise LookupError("no room")
            await super().park(lease, reason)

    await queue.put("filter", [b"bad"])
    role = Failing(queue, Done(b"bad", Poison("never")))
    await asyncio.sleep(0.3)
    assert (await queue.depth("filter")).jobs == 1
    fail = False
    await role.until_empty()
    await role.stop()

    assert role.parked == [(b"bad", "Poison: never")]


async def test_a_bug_that_hits_every_job_loses_none(queue: Queue) -> None:
    broken = True
    done: list[bytes] = []

    async def handle(leases: Sequence[Lease]) -> None:
        if broken:
            raise RuntimeError("a bug")
        done.extend(lease.body for lease in leases)

    await queue.put("filter", JOBS)
    role = Role(queue, handle)
    await asyncio.sleep(0.5)
    broken = False
    await role.until_empty()
    await role.stop()

    assert sorted(done) == sorted(JOBS)
    assert not role.parked


async def test_under_load_jobs_come_together_in_fewer_batches(queue: Queue) -> None:
    batches: list[int] = []

    async def handle(leases: Sequence[Lease]) -> None:
        batches.append(len(leases))

    role = Role(queue, handle, interval=1.0)
    for number in range(20):
        await queue.put("filter", [b"%d" % number])
    await role.until_empty()
    await role.stop()
    assert sum(batches) == 20
    assert len(batches) <= 3


async def test_a_worker_that_gathers_stops_at_once(queue: Queue) -> None:
    done = Done()
    role = Role(queue, done, interval=600.0)
    await queue.put("filter", [b"first"])
    await role.until_empty()
    await queue.put("filter", [b"second"])
    await asyncio.sleep(0.1)
    await role.stop()
    assert (await queue.depth("filter")).jobs == 1


async def test_quick_batches_that_gather_do_not_run_beside_each_other(queue: Queue) -> None:
    running = most = 0

    async def handle(leases: Sequence[Lease]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    role = Role(queue, handle, most=50, concurrency=4, interval=0.001)
    for number in range(40):
        await queue.put("filter", [b"%d" % number])
        await asyncio.sleep(0.002)
    await role.until_empty()
    await role.stop()
    assert most == 1


async def test_a_slow_batch_that_gathered_has_others_beside_it(queue: Queue) -> None:
    slow, done = asyncio.Event(), asyncio.Event()

    async def handle(leases: Sequence[Lease]) -> None:
        if leases[0].body == b"slow":
            await slow.wait()
        else:
            done.set()

    role = Role(queue, handle, concurrency=2, interval=0.001)
    await queue.put("filter", [b"slow"])
    await asyncio.sleep(0.05)
    await queue.put("filter", [b"quick"])
    async with asyncio.timeout(20):
        await done.wait()
    slow.set()
    await role.until_empty()
    await role.stop()
