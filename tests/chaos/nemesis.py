"""The nemesis: what goes wrong, when, from a seed.  Each fault is written down and healed."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aio_pika

from tests.chaos.backends import Servers
from tests.chaos.failpoints import Failpoints
from tests.chaos.supervisor import Supervisor

QUEUES = ("filter", "delivery", "storage", "relay")


@dataclass(slots=True)
class Nemesis:
    """All faults of one round."""

    seed: int
    platform: Supervisor
    failpoints: Failpoints
    servers: Servers
    vhost: str
    tell: Callable[[str], None] = print
    pending: list[str] = field(default_factory=list)
    """Failpoints that have not killed anything yet."""
    outages: int = 0
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/nemesis")

    async def crash_at_each(self, seconds: float, *, together: bool = False) -> None:
        """A kill at each pending failpoint; those not passed within `seconds` stay pending.

        One after the other, or `together`: one of each role at the same time.
        """
        for group in self._groups(together):
            self._arm(group)
            deadline = time.monotonic() + seconds
            while waiting := [name for name in group if not self.failpoints.fired(name)]:
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
            fired = [name for name in group if name not in waiting]
            if fired:
                self.tell(f"crash at {', '.join(fired)}")
                await asyncio.sleep(0.3)
            self._disarm()
            await self.platform.ready()

    def _groups(self, together: bool) -> list[list[str]]:
        names = list(self.pending)
        self.rng.shuffle(names)
        if not together:
            return [[name] for name in names]
        by_role: dict[str, list[str]] = {}
        for name in names:
            by_role.setdefault(name.partition(".")[0], []).append(name)
        rows = itertools.zip_longest(*by_role.values())
        return [[name for name in row if name] for row in rows]

    def _arm(self, names: Sequence[str]) -> None:
        self.platform.armed = ", ".join(names)
        self.failpoints.arm(*(f"{name} kill once" for name in names))

    def _disarm(self) -> None:
        self.failpoints.arm()
        self.platform.armed = ""
        self.pending = [name for name in self.pending if not self.failpoints.fired(name)]

    async def random_kills(self, count: int) -> None:
        """kill -9 of any process at any time."""
        for _ in range(count):
            await asyncio.sleep(self.rng.uniform(0.5, 2.0))
            name = self.rng.choice(sorted(self.platform.members))
            self.tell(f"kill -9 {name}")
            self.platform.kill(name, "nemesis")
        await asyncio.sleep(1.5)
        await self.platform.ready()

    async def pauses(self, count: int, seconds: float) -> None:
        """SIGSTOP of any process, then SIGCONT."""
        for _ in range(count):
            name = self.rng.choice(sorted(self.platform.members))
            self.tell(f"pause {name} for {seconds:.0f} s")
            self.outages += 1
            await self.platform.pause(name, seconds)

    async def late_verdicts(self, seconds: float) -> None:
        """The scanner hangs, so that verdicts come after the 250."""
        self.tell(f"pause clamd for {seconds:.0f} s")
        self.outages += 1
        self.servers.clamd.pause()
        await asyncio.sleep(seconds)
        self.servers.clamd.resume()

    async def broker_outage(self, seconds: float) -> None:
        """kill -9 of RabbitMQ, and a restart after some seconds."""
        self.tell("kill -9 rabbitmq")
        self.outages += 1
        self._arm(self.pending)
        self.servers.rabbitmq.kill()
        await asyncio.sleep(seconds)
        self.servers.rabbitmq.launch()
        await asyncio.to_thread(self.servers.rabbitmq.wait)
        self.tell("rabbitmq is back")
        await asyncio.sleep(3)
        self._disarm()
        await self.platform.ready()

    async def database_outage(self, seconds: float) -> None:
        """kill -9 of PostgreSQL, and a restart after some seconds."""
        self.tell("kill -9 postgres")
        self.outages += 1
        self.servers.postgres.kill()
        await asyncio.sleep(seconds)
        self.servers.postgres.launch()
        await asyncio.to_thread(self.servers.postgres.wait)
        self.tell("postgres is back")
        await asyncio.sleep(2)
        await self.platform.ready()

    async def total_outage(self, seconds: float) -> None:
        """RabbitMQ and PostgreSQL both away: the segments alone must be enough."""
        self.tell("kill -9 rabbitmq and postgres")
        self.outages += 2
        self.servers.rabbitmq.kill()
        self.servers.postgres.kill()
        await asyncio.sleep(seconds)
        self.servers.postgres.launch()
        self.servers.rabbitmq.launch()
        await asyncio.to_thread(self.servers.postgres.wait)
        await asyncio.to_thread(self.servers.rabbitmq.wait)
        self.tell("rabbitmq and postgres are back")
        await asyncio.sleep(3)
        await self.platform.ready()

    async def delete_queues(self, backlog: float) -> None:
        """Every queue is deleted while jobs wait in it, for their consumers are away.

        A consumer that is only paused would still hold what it was given.
        """
        self.outages += 1
        self.tell(f"kill -9 storage and delivery; in {backlog:.0f} s delete all queues")
        away = [asyncio.create_task(self.platform.away("storage", backlog + 0.5))]
        await asyncio.sleep(backlog / 2)
        away.append(asyncio.create_task(self.platform.away("delivery", backlog / 2 + 0.5)))
        await asyncio.sleep(backlog / 2)
        lost = await self._delete_queues()
        self.tell(f"deleted queues with {lost} frames of jobs in them")
        await asyncio.gather(*away)
        self._arm(self.pending)
        await asyncio.sleep(5)
        self._disarm()
        await self.platform.ready()

    async def _delete_queues(self) -> int:
        connection = await aio_pika.connect(self.servers.rabbitmq.url(self.vhost))
        async with connection:
            channel = await connection.channel()
            lengths = await asyncio.to_thread(self.servers.rabbitmq.queue_lengths, self.vhost)
            for name in lengths:
                if any(queue in name for queue in QUEUES):
                    await channel.queue_delete(name)
        return sum(lengths.values())
