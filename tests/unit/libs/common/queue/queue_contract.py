"""What every backend of the queue promises; subclass `QueueContract` and provide `queue_url`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from libs.common.queue import Consumer, Lease, Queue, open_queue

ROOT = Path(__file__).resolve().parents[5]
_CRASHER = Path(__file__).with_name("crasher.py")


def run_process(url: str, what: str, log: Path | None = None) -> int:
    """Run a part of `crasher.py` in a process of its own; its return code."""
    command = [sys.executable, str(_CRASHER), url, what, *([str(log)] if log else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


async def take(consumer: Consumer, count: int, seconds: float = 15) -> list[Lease]:
    """Exactly `count` leases, in the order in which they were given."""
    leases: list[Lease] = []
    async with asyncio.timeout(seconds):
        while len(leases) < count:
            leases += await consumer.take(count - len(leases))
    return leases


async def nothing(consumer: Consumer, seconds: float = 0.4) -> bool:
    """True when no lease comes for a while."""
    try:
        async with asyncio.timeout(seconds):
            await consumer.take(1)
    except TimeoutError:
        return True
    return False


async def ack_all(leases: Sequence[Lease]) -> None:
    for lease in leases:
        await lease.ack()


async def emptied(queue: Queue, name: str = "filter") -> bool:
    """True when a queue is empty in a while."""
    for _ in range(100):
        if not (await queue.depth(name)).jobs:
            return True
        await asyncio.sleep(0.05)
    return False


class QueueContract:
    """The promises of `libs.common.queue.protocol`."""

    @pytest.fixture
    async def queue(self, queue_url: str) -> AsyncIterator[Queue]:
        queue = open_queue(queue_url)
        yield queue
        await queue.close()

    async def test_a_job_is_durable_once_put_has_returned(self, queue_url: str) -> None:
        await asyncio.to_thread(run_process, queue_url, "put")

        queue = open_queue(queue_url)
        leases = await take(await queue.consume("filter", 10), 1)
        await queue.close()

        assert [(lease.body, lease.attempt, lease.suspect) for lease in leases] == [
            (b"job", 0, False)
        ]

    async def test_jobs_come_in_the_order_of_their_puts(self, queue: Queue) -> None:
        jobs = [b"%d" % number for number in range(300)]
        consumer = await queue.consume("filter", 1000)
        for job in jobs[:10]:
            await queue.put("filter", [job])
        await queue.put("filter", jobs[10:])

        assert [lease.body for lease in await take(consumer, 300)] == jobs

    async def test_queues_do_not_mix(self, queue: Queue) -> None:
        consumer = await queue.consume("delivery", 10)
        await queue.put("filter", [b"for filter"])
        await queue.put("delivery", [b"for delivery"])

        assert [lease.body for lease in await take(consumer, 1)] == [b"for delivery"]
        assert await nothing(consumer)

    async def test_no_more_than_prefetch_jobs_are_out_at_a_time(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 5)
        await queue.put("filter", [b"%d" % number for number in range(20)])

        leases = await take(consumer, 5)

        assert await nothing(consumer)
        await leases[0].ack()
        assert len(await consumer.take(10)) == 1

    async def test_a_settled_job_never_comes_again(self, queue: Queue, queue_url: str) -> None:
        consumer = await queue.consume("filter", 10)
        await queue.put("filter", [b"one", b"two"])
        await ack_all(await take(consumer, 2))
        assert await emptied(queue)
        await queue.close()

        again = open_queue(queue_url)
        try:
            assert await nothing(await again.consume("filter", 10))
        finally:
            await again.close()

    async def test_a_requeued_job_comes_again_with_its_attempts_counted(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 10)
        await queue.put("filter", [b"one", b"two"])
        first, second = await take(consumer, 2)

        await first.requeue()
        await second.ack()
        (again,) = await take(consumer, 1)

        assert (again.body, again.attempt, again.suspect) == (b"one", 1, False)

    async def test_a_delayed_job_comes_when_its_time_has_come(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 10)
        await queue.put("filter", [b"job"])
        (lease,) = await take(consumer, 1)

        await lease.requeue(1)
        start = time.monotonic()
        (again,) = await take(consumer, 1)

        assert 0.9 < time.monotonic() - start < 4
        assert again.attempt == 1

    async def test_a_delayed_job_outlives_its_process(self, queue: Queue, queue_url: str) -> None:
        await queue.put("filter", [b"job"])
        await queue.close()

        await asyncio.to_thread(run_process, queue_url, "delay")

        again = open_queue(queue_url)
        assert (await again.depth("filter")).jobs == 1
        leases = await take(await again.consume("filter", 10), 1)
        await again.close()
        assert [(lease.body, lease.attempt, lease.suspect) for lease in leases] == [
            (b"job", 1, False)
        ]

    async def test_what_a_dead_process_held_comes_again_alone_and_suspect(
        self, queue: Queue, queue_url: str
    ) -> None:
        jobs = [b"a", b"b", b"c"]
        await queue.put("filter", jobs)
        await queue.close()
        await asyncio.to_thread(run_process, queue_url, "hold")

        again = open_queue(queue_url)
        consumer = await again.consume("filter", 10)
        seen = []
        for _ in jobs:
            (lease,) = await consumer.take(10)
            assert (lease.attempt, lease.suspect) == (1, True)
            assert await nothing(consumer, 0.2), "two suspects at a time"
            seen.append(lease.body)
            await lease.ack()
        await again.close()

        assert sorted(seen) == jobs

    async def test_fresh_jobs_pass_a_suspect_that_is_slow(
        self, queue: Queue, queue_url: str
    ) -> None:
        await queue.put("filter", [b"a", b"b", b"c"])
        await queue.close()
        await asyncio.to_thread(run_process, queue_url, "hold")

        again = open_queue(queue_url)
        consumer = await again.consume("filter", 10)
        (suspect,) = await take(consumer, 1)
        await again.put("filter", [b"fresh"])
        (fresh,) = await take(consumer, 1)
        await again.close()

        assert suspect.suspect
        assert (fresh.body, fresh.suspect) == (b"fresh", False)

    async def test_a_job_that_kills_its_process_is_parked_alone(
        self, queue: Queue, queue_url: str, tmp_path: Path
    ) -> None:
        jobs = [b"%d" % number for number in range(60)]
        await queue.put("filter", [*jobs[:10], b"poison", *jobs[10:]])
        await queue.close()
        log = tmp_path / "log"

        deaths = 0
        while await asyncio.to_thread(run_process, queue_url, "work", log):
            deaths += 1
            assert deaths < 10

        lines = [line.split() for line in log.read_text().splitlines()]
        assert deaths == 4
        assert {body for word, body, _ in lines if word == "parked"} == {"poison"}
        assert {body for word, body, _ in lines if word == "done"} == {j.decode() for j in jobs}

    async def test_depth_counts_what_waits_and_what_is_leased(self, queue: Queue) -> None:
        await queue.put("filter", [b"1", b"2", b"3"])
        consumer = await queue.consume("filter", 1)
        (lease,) = await take(consumer, 1)
        await asyncio.sleep(0.6)

        depth = await queue.depth("filter")

        assert depth.jobs == 3
        assert 0.5 < depth.oldest_seconds < 10
        await lease.ack()
        await ack_all(await take(consumer, 1))
        await ack_all(await take(consumer, 1))
        assert await emptied(queue)
        assert (await queue.depth("filter")).oldest_seconds == 0

    async def test_closing_a_consumer_gives_back_what_is_not_settled(self, queue: Queue) -> None:
        await queue.put("filter", [b"%d" % number for number in range(10)])
        consumer = await queue.consume("filter", 3)
        await (await take(consumer, 1))[0].ack()
        await take(consumer, 2)

        await consumer.close()

        leases = await take(await queue.consume("filter", 20), 9)
        assert sorted(lease.body for lease in leases) == [b"%d" % n for n in range(1, 10)]
        assert {(lease.attempt, lease.suspect) for lease in leases} == {(0, False)}

    async def test_a_clean_restart_counts_no_attempt(self, queue: Queue, queue_url: str) -> None:
        await queue.put("filter", [b"1", b"2", b"3"])
        await take(await queue.consume("filter", 2), 2)
        await queue.close()

        again = open_queue(queue_url)
        leases = await take(await again.consume("filter", 10), 3)
        await again.close()

        assert {(lease.attempt, lease.suspect) for lease in leases} == {(0, False)}

    async def test_a_settled_lease_can_be_settled_again_without_effect(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 10)
        await queue.put("filter", [b"job"])
        (lease,) = await take(consumer, 1)

        await lease.ack()
        await lease.ack()
        await lease.requeue()

        assert await nothing(consumer)

    async def test_a_cancelled_take_loses_nothing(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 10)
        for _ in range(20):
            taking = asyncio.create_task(consumer.take(1))
            await asyncio.sleep(0.001)
            taking.cancel()
            await asyncio.wait({taking})
        await queue.put("filter", [b"job"])

        assert [lease.body for lease in await take(consumer, 1)] == [b"job"]

    async def test_putting_nothing_is_nothing(self, queue: Queue) -> None:
        await queue.put("filter", [])

        assert (await queue.depth("filter")).jobs == 0

    async def test_ten_thousand_jobs_come_once_each(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 500)
        jobs = {b"%d" % number for number in range(10_000)}
        seen: list[bytes] = []

        async def work() -> None:
            while len(seen) < len(jobs):
                leases = await consumer.take(64)
                seen.extend(lease.body for lease in leases)
                await ack_all(leases)

        async def put(number: int) -> None:
            for at in range(number, 10_000, 100):
                await queue.put("filter", [b"%d" % at])

        async with asyncio.timeout(60):
            await asyncio.gather(work(), *(put(number) for number in range(100)))

        assert set(seen) == jobs
        assert len(seen) == len(jobs)
        assert await emptied(queue)

    async def test_a_broadcast_reaches_every_listener_of_its_topic(self, queue: Queue) -> None:
        first, second = queue.listen("changes"), queue.listen("changes")
        other = queue.listen("other")
        await asyncio.sleep(0.5)

        await queue.broadcast("changes", b"news")

        async with asyncio.timeout(5):
            assert [await anext(first), await anext(second)] == [b"news", b"news"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(other)

    async def test_replies_reach_only_who_asked(self, queue: Queue) -> None:
        replies = queue.replies()
        address = await queue.reply_address()

        await queue.reply("nobody", [b"not for us"])
        await queue.reply(address, [b"one", b"two"])

        async with asyncio.timeout(5):
            assert [await anext(replies), await anext(replies)] == [b"one", b"two"]
        assert await queue.reply_address() == address

    async def test_it_is_healthy_while_jobs_can_be_put(self, queue: Queue) -> None:
        assert await queue.healthy()
