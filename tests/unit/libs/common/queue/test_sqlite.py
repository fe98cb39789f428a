from __future__ import annotations

import asyncio
import sqlite3
import struct
from pathlib import Path

import pytest

from libs.common.queue import Queue, QueueError, open_queue
from libs.common.queue.sqlite_consumer import WINDOW
from libs.common.queue.sqlite_file import QueueFile
from tests.unit.libs.common.queue.queue_contract import (
    QueueContract,
    ack_all,
    emptied,
    run_process,
    take,
)


def commits(wal: Path) -> int:
    """How many transactions a write-ahead log holds: frames that carry a database size."""
    raw = wal.read_bytes()
    (page,) = struct.unpack_from(">I", raw, 8)
    salt = raw[16:24]
    sizes = [
        struct.unpack_from(">I", raw, at + 4)[0]
        for at in range(32, len(raw), 24 + page)
        if raw[at + 8 : at + 16] == salt
    ]
    return sum(1 for size in sizes if size)


def in_wal(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


class TestSqliteQueue(QueueContract):
    @pytest.fixture
    def queue_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/queue.db"

    async def test_puts_that_wait_together_share_a_transaction(
        self, queue: Queue, tmp_path: Path
    ) -> None:
        await queue.put("filter", [b"first"])
        before = commits(tmp_path / "queue.db-wal")

        await asyncio.gather(*(queue.put("filter", [b"job"]) for _ in range(200)))

        assert commits(tmp_path / "queue.db-wal") - before <= 5

    async def test_what_another_process_puts_is_noticed_soon(
        self, queue: Queue, queue_url: str
    ) -> None:
        consumer = await queue.consume("filter", 1000)
        await queue.put("filter", [b"ours"])
        assert len(await take(consumer, 1)) == 1
        await asyncio.sleep(0.6)

        await asyncio.to_thread(run_process, queue_url, "put_many")
        leases = await take(consumer, 100)

        assert [lease.body for lease in leases] == [b"%d" % number for number in range(100)]

    async def test_a_second_consuming_process_is_told_what_to_do(
        self, queue: Queue, queue_url: str
    ) -> None:
        await queue.consume("filter", 1)
        other = open_queue(queue_url)

        with pytest.raises(QueueError, match=r"queue\.db is in use .* HOLUB_QUEUE_URL"):
            await other.consume("filter", 1)
        await other.put("filter", [b"but it may put"])
        assert (await other.depth("filter")).jobs == 1
        await other.close()

    async def test_a_backlog_beyond_the_window_comes_in_order(self, queue: Queue) -> None:
        jobs = [b"%d" % number for number in range(3 * WINDOW)]
        consumer = await queue.consume("filter", 10_000_000)
        await queue.put("filter", jobs)
        seen: list[bytes] = []

        while len(seen) < len(jobs):
            leases = await take(consumer, min(512, len(jobs) - len(seen)))
            await queue.put("filter", [b"later"])
            seen += [lease.body for lease in leases]
            await ack_all(leases)

        assert seen == jobs

    async def test_memory_holds_only_a_window_of_a_backlog(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 100)
        for _ in range(10):
            await queue.put("filter", [b"job"] * WINDOW)
        leases = await take(consumer, 100)

        assert len(consumer._ready) <= 2 * WINDOW  # type: ignore[attr-defined]
        await ack_all(leases)
        assert (await queue.depth("filter")).jobs >= 10 * WINDOW - 100

    async def test_many_delayed_jobs_come_in_the_order_of_their_times(self, queue: Queue) -> None:
        consumer = await queue.consume("filter", 1000)
        await queue.put("filter", [b"%d" % number for number in range(200)])
        leases = await take(consumer, 200)
        await asyncio.gather(*(lease.requeue(1 - int(lease.body) / 1000) for lease in leases))

        again = await take(consumer, 200)

        assert {lease.attempt for lease in again} == {1}
        await ack_all(again)
        assert await emptied(queue)

    async def test_rescans_while_jobs_are_settled_give_no_job_twice(
        self, queue: Queue, queue_url: str
    ) -> None:
        """Another process writes all the time, so the table is looked at again and again."""
        other = open_queue(queue_url)
        consumer = await queue.consume("filter", 200)
        jobs = [b"%d" % number for number in range(5000)]
        seen: list[bytes] = []

        async def disturb() -> None:
            while len(seen) < len(jobs):
                await other.put("relay", [b"noise"])
                consumer.look_again()  # type: ignore[attr-defined]
                await asyncio.sleep(0.002)

        async def work() -> None:
            while len(seen) < len(jobs):
                leases = await consumer.take(20)
                for lease in leases:
                    if lease.attempt == 0 and int(lease.body) % 7 == 0:
                        await lease.requeue(0.001 if int(lease.body) % 2 else 0)
                    else:
                        seen.append(lease.body)
                        await lease.ack()

        async with asyncio.timeout(60):
            await asyncio.gather(queue.put("filter", jobs), work(), disturb())
        await other.close()

        assert sorted(seen) == sorted(jobs)
        assert await emptied(queue)

    async def test_writers_that_make_the_file_at_once_wait_for_each_other(
        self, tmp_path: Path
    ) -> None:
        """Without the wait about one file in thirty hears "database is locked"."""
        for attempt in range(60):
            files = [QueueFile(tmp_path / f"new{attempt}.db") for _ in range(3)]

            made = await asyncio.gather(*(file.write(in_wal) for file in files))

            assert made == ["wal"] * 3
            await asyncio.gather(*(file.close() for file in files))

    async def test_a_closed_queue_refuses_puts(self, queue: Queue) -> None:
        await queue.close()

        with pytest.raises(QueueError, match="closed"):
            await queue.put("filter", [b"job"])
