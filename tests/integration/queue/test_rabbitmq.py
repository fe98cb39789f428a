from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiormq
import pytest

from libs.common.queue import QUEUES, Lease, Queue, QueueError, open_queue, rabbitmq_consumer
from libs.common.queue.rabbitmq import RabbitQueue
from libs.common.queue.rabbitmq_link import CONNECT_SECONDS
from libs.common.queue.rabbitmq_publisher import GATHER_SECONDS, PUBLISH_SECONDS
from libs.common.queue.topology import arguments, queues_of
from tests.servers.rabbitmq import RabbitMQ
from tests.unit.libs.common.queue.queue_contract import (
    QueueContract,
    ack_all,
    emptied,
    nothing,
    take,
)

JOBS = [b"%d" % number for number in range(200)]


def vhost(url: str) -> str:
    return url.rsplit("/", 1)[1]


async def lengths(rabbitmq: RabbitMQ, url: str) -> dict[str, int]:
    """Messages ready and unacknowledged in the queues that are not empty."""
    await asyncio.sleep(0.8)  # the broker notes them twice a second
    found = await asyncio.to_thread(rabbitmq.queue_lengths, vhost(url))
    return {name: count for name, count in found.items() if count}


async def put_when_possible(queue: Queue, jobs: list[bytes], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                await queue.put("filter", jobs)
            except QueueError:
                await asyncio.sleep(0.2)
            else:
                return


async def publish(url: str, body: bytes) -> None:
    """What some other program puts on our queue."""
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        await channel.basic_publish(body, routing_key="filter")


class TestRabbitQueue(QueueContract):
    @pytest.fixture
    def queue_url(self, rabbitmq_url: str) -> str:
        return rabbitmq_url

    @pytest.fixture
    async def other(self, queue_url: str) -> AsyncIterator[Queue]:
        """The queue of another process."""
        queue = open_queue(queue_url)
        yield queue
        await queue.close()

    async def test_puts_that_wait_together_share_frames(
        self, queue: RabbitQueue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        await asyncio.gather(*(queue.put("filter", [b"job"]) for _ in range(1000)))

        found = await lengths(rabbitmq, queue_url)

        assert found["filter"] <= 1000 / 64 + 5
        consumer = await queue.consume("filter", 1000)
        assert len(await take(consumer, 1000)) == 1000

    async def test_puts_that_follow_each_other_closely_share_frames(
        self, queue: RabbitQueue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        await queue.put("filter", [b"the first is not waited with"])

        async def later(number: int) -> None:
            await asyncio.sleep(number * GATHER_SECONDS / 20)
            await queue.put("filter", [b"job"])

        await asyncio.gather(*(later(number) for number in range(200)))

        assert 2 <= (await lengths(rabbitmq, queue_url))["filter"] <= 50

    async def test_closing_sends_what_still_gathers(self, queue: Queue, other: Queue) -> None:
        await other.put("filter", [b"sent"])
        gathers = asyncio.create_task(other.put("filter", [b"gathers"]))
        await asyncio.sleep(0)

        await other.close()

        await gathers
        consumer = await queue.consume("filter", 10)
        assert {lease.body for lease in await take(consumer, 2)} == {b"sent", b"gathers"}

    async def test_a_frame_holds_no_more_than_64_kib(
        self, queue: Queue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        await queue.put("filter", [bytes(20_000)] * 9 + [bytes(100_000)])

        assert (await lengths(rabbitmq, queue_url))["filter"] == 4

    async def test_relay_jobs_travel_alone(
        self, queue: Queue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        await queue.put("relay", JOBS[:20])

        assert await lengths(rabbitmq, queue_url) == {"relay": 20}

    async def test_a_killed_broker_comes_back_with_every_job(
        self, queue: Queue, rabbitmq: RabbitMQ
    ) -> None:
        consumer = await queue.consume("filter", 1000)
        await queue.put("filter", JOBS)
        held = await take(consumer, 10)

        rabbitmq.kill()
        start = time.monotonic()
        with pytest.raises(QueueError):
            await queue.put("filter", [b"lost, and said so"])
        assert time.monotonic() - start < PUBLISH_SECONDS * 2
        assert not await queue.healthy()
        await asyncio.to_thread(rabbitmq.start)
        await put_when_possible(queue, [b"after"])
        await ack_all(held)
        rest: list[Lease] = []
        while b"after" not in [lease.body for lease in rest]:
            rest += await take(consumer, 1)
            await rest[-1].ack()

        seen = [lease.body for lease in (*held, *rest)]
        assert set(JOBS) <= set(seen)
        assert await queue.healthy()
        assert await emptied(queue)

    async def test_a_lost_connection_neither_counts_nor_repeats_what_is_in_hand(
        self, queue: Queue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        consumer = await queue.consume("filter", 1000)
        await queue.put("filter", JOBS)
        held = await take(consumer, 70)

        await asyncio.to_thread(
            rabbitmq.ctl, "close_all_connections", "-p", vhost(queue_url), "test"
        )
        rest = await take(consumer, len(JOBS) - len(held))

        assert sorted(lease.body for lease in (*held, *rest)) == sorted(JOBS)
        assert {(lease.attempt, lease.suspect) for lease in rest} == {(0, False)}
        await ack_all([*held, *rest])
        assert await nothing(consumer, 1)
        assert await lengths(rabbitmq, queue_url) == {}

    async def test_a_deleted_queue_is_declared_again_by_who_consumes_and_by_who_puts(
        self, queue: Queue, other: Queue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        consumer = await queue.consume("filter", 10)
        await other.put("filter", [b"before"])
        await ack_all(await take(consumer, 1))

        for name in ("filter", "delivery"):
            await asyncio.to_thread(rabbitmq.ctl, "delete_queue", "-p", vhost(queue_url), name)
        await other.put("filter", [b"after"])
        await other.put("delivery", [b"after"])

        assert [lease.body for lease in await take(consumer, 1)] == [b"after"]
        assert (await lengths(rabbitmq, queue_url))["delivery"] == 1

    async def test_a_blocked_broker_is_an_error_within_the_bound(
        self, queue: Queue, rabbitmq: RabbitMQ
    ) -> None:
        await queue.put("filter", [b"before"])
        consumer = await queue.consume("filter", 10)
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            await asyncio.sleep(0.5)
            start = time.monotonic()
            with pytest.raises(QueueError, match="not confirmed"):
                await queue.put("filter", [b"ghost"])
            waited = time.monotonic() - start
            assert not await queue.healthy()
            # An alarm stops only who publishes.
            await ack_all(await take(consumer, 1))
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "2GB")
        await put_when_possible(queue, [b"after"])

        assert 4 < waited < 6
        assert await queue.healthy()
        assert [lease.body for lease in await take(consumer, 1)] == [b"after"]

    async def test_a_queue_with_other_arguments_is_refused(self, queue_url: str) -> None:
        async with aiormq.connect(queue_url) as connection:
            channel = await connection.channel()
            await channel.queue_declare("delivery", durable=True)
        queue = open_queue(queue_url)

        with pytest.raises(QueueError, match=r"'delivery' exists with other arguments"):
            await queue.consume("filter", 10)
        with pytest.raises(QueueError):
            await queue.put("filter", [b"job"])
        assert not await queue.healthy()
        await queue.close()

    async def test_a_frame_that_cannot_be_read_is_parked_and_holds_up_nobody(
        self, queue: Queue, queue_url: str, rabbitmq: RabbitMQ
    ) -> None:
        parked = []

        async def park(name: str, lease: Lease, reason: str) -> None:
            parked.append((name, lease.body, reason))

        consumer = await queue.consume("filter", 10)
        await publish(queue_url, b"not a frame")
        await queue.put("filter", [b"job"])
        assert [lease.body for lease in await take(consumer, 1)] == [b"job"]
        assert (await lengths(rabbitmq, queue_url))["parked"] == 1

        assert await queue.drain_parked(park) == 1

        ((name, body, reason),) = parked
        assert (name, body) == ("filter", b"not a frame")
        assert "unknown version" in reason
        assert await queue.drain_parked(park) == 0

    async def test_what_cannot_be_parked_stays(self, queue: Queue, queue_url: str) -> None:
        async def fail(name: str, lease: Lease, reason: str) -> None:
            raise LookupError("no database")

        async def park(name: str, lease: Lease, reason: str) -> None:
            pass

        await queue.consume("filter", 10)
        await publish(queue_url, b"not a frame")
        await asyncio.sleep(0.5)

        with pytest.raises(LookupError):
            await queue.drain_parked(fail)
        assert await queue.drain_parked(park) == 1

    async def test_a_slow_job_lets_its_frame_go_and_comes_not_twice(
        self,
        queue: Queue,
        queue_url: str,
        rabbitmq: RabbitMQ,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(rabbitmq_consumer, "STRAGGLER_SECONDS", 1.0)
        await queue.put("filter", [b"slow", *JOBS[:30]])
        consumer = await queue.consume("filter", 100)
        slow, *rest = await take(consumer, 31)
        await ack_all(rest)

        assert await nothing(consumer, 3)
        await slow.ack()

        assert await emptied(queue)
        assert await lengths(rabbitmq, queue_url) == {}

    async def test_a_slow_job_outlives_the_process_that_let_its_frame_go(
        self, queue: Queue, other: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rabbitmq_consumer, "STRAGGLER_SECONDS", 0.5)
        await queue.put("filter", [b"slow", *JOBS[:30]])
        consumer = await queue.consume("filter", 100)
        _, *rest = await take(consumer, 31)
        await ack_all(rest)
        await asyncio.sleep(3)

        await queue.close()

        again = await take(await other.consume("filter", 100), 1)
        assert [(lease.body, lease.attempt) for lease in again] == [(b"slow", 0)]

    async def test_single_jobs_are_fetched_ahead_as_far_as_frames_are(self, queue: Queue) -> None:
        """The broker counts frames; ours adapt, or a backlog of single jobs would crawl."""
        await queue.put("filter", [b"first"])
        for number in range(300):
            await queue.put("filter", [b"%d" % number])
        consumer = await queue.consume("filter", 200)
        for _ in range(100):
            await ack_all(await take(consumer, 1))
        await asyncio.sleep(1.5)

        async with asyncio.timeout(5):
            leases = list(await consumer.take(150))
            while len(leases) < 150:
                leases += await consumer.take(150 - len(leases))

        assert len(leases) == 150

    async def test_broadcasts_and_replies_cross_processes(self, queue: Queue, other: Queue) -> None:
        heard, ours = queue.listen("changes"), queue.replies()
        theirs = other.replies()
        address = await queue.reply_address()
        await other.reply_address()
        await asyncio.sleep(0.3)

        await other.broadcast("changes", b"news")
        await other.reply(address, [b"one"])
        await other.reply(address, [b"two", b"three"])

        async with asyncio.timeout(5):
            assert await anext(heard) == b"news"
            assert [await anext(ours) for _ in range(3)] == [b"one", b"two", b"three"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(theirs)

    async def test_a_process_hears_again_after_its_connection_was_lost(
        self, queue: Queue, other: Queue, rabbitmq: RabbitMQ, queue_url: str
    ) -> None:
        heard, replies = queue.listen("changes"), queue.replies()
        address = await queue.reply_address()
        await asyncio.to_thread(
            rabbitmq.ctl, "close_all_connections", "-p", vhost(queue_url), "test"
        )

        async def tell() -> None:
            while True:
                await other.broadcast("changes", b"news")
                await other.reply(address, [b"answer"])
                await asyncio.sleep(0.2)

        telling = asyncio.create_task(tell())
        async with asyncio.timeout(15):
            assert await anext(heard) == b"news"
            assert await anext(replies) == b"answer"
        telling.cancel()
        assert await queue.reply_address() == address

    async def test_hints_never_wait_for_the_broker(self, rabbitmq: RabbitMQ) -> None:
        nowhere = open_queue("amqp://guest:guest@127.0.0.1:1/")
        start = time.monotonic()

        await nowhere.broadcast("changes", b"news")
        await nowhere.reply("somebody", [b"answer"])

        assert time.monotonic() - start < CONNECT_SECONDS / 2
        with pytest.raises(QueueError, match="away") as caught:
            await nowhere.put("filter", [b"job"])
        assert "guest" not in str(caught.value)
        await nowhere.close()

    async def test_consuming_waits_for_a_broker_that_is_away(self) -> None:
        nowhere = open_queue("amqp://guest:guest@127.0.0.1:1/")

        assert await nothing(await nowhere.consume("filter", 10))

        await nowhere.close()


@pytest.mark.parametrize("name", [name for queue in QUEUES for name in queues_of(queue)])
def test_every_queue_keeps_what_it_cannot_deliver(name: str) -> None:
    """Any of these missing, and the broker may drop jobs silently."""
    found = arguments(name)

    assert found["x-queue-type"] == "quorum"
    assert found["x-overflow"] == "reject-publish"
    assert found["x-dead-letter-strategy"] == "at-least-once"
    assert found["x-dead-letter-routing-key"] in ("parked", name.split(".")[0])
