"""The one loop that settles jobs: a return acks a batch, an exception puts it back.

A job may come twice, so handlers must be idempotent.  A batch that fails is halved until the job
that is to blame is found: its neighbours go on, it comes again later and later, and is parked in
the end.  A fault that is nobody's job's fault (a backend is away) waits, and counts for nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from prometheus_client import Counter, Histogram

from libs.common.queue.protocol import Consumer, Lease, Queue, QueueError
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_JOBS = Counter("holub_queue_jobs_total", "Jobs settled.", ["queue", "result"])
_SECONDS = Histogram("holub_queue_batch_seconds", "Time to handle a batch.", ["queue"])

DELAYS = (1.0, 5.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before a job that failed alone comes again; the last one for all later attempts."""
SLOW_SECONDS = 0.1
"""A batch that takes longer waits for something (DNS, a scanner): another one begins beside it."""
FIRST_PAUSE = 0.1
MAX_PAUSE = 5.0
"""Seconds between tries of a batch that waits for a backend, from the first to the longest."""


class Poison(Exception):
    """This job can never be done, whoever tries: park it at once."""


Handle = Callable[[Sequence[Lease]], Awaitable[None]]
Park = Callable[[Lease, str], Awaitable[None]]


class Worker:
    """Takes batches from one queue and hands them to `handle`, several at a time.

    Batches begin at least `interval` seconds apart (a function of it is asked before each): what
    a transaction costs, it costs once for all the jobs that came meanwhile, while a job that comes
    to an idle worker waits for nothing.
    """

    def __init__(
        self,
        queue: Queue,
        name: str,
        handle: Handle,
        park: Park,
        *,
        most: int = 64,
        prefetch: int = 256,
        concurrency: int = 1,
        interval: float | Callable[[], float] = 0.0,
        max_attempts: int = 20,
        transient: tuple[type[BaseException], ...] = (QueueError,),
    ) -> None:
        self._queue = queue
        self._name = name
        self._handle = handle
        self._park = park
        self._most = most
        self._prefetch = prefetch
        self._slots = asyncio.Semaphore(concurrency)
        self._interval = interval if callable(interval) else lambda: interval
        self._begun = -math.inf
        self._under_way: set[asyncio.Task[None]] = set()
        self._max_attempts = max_attempts
        self._transient: tuple[type[BaseException], ...] = (*transient, QueueError)
        self._stopping = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; then finish what is in hand, settle it, and return.

        A batch that waits for a backend by then is not finished: it goes back as it is.
        """
        self._stopping = stopping
        consumer = await self._queue.consume(self._name, self._prefetch)
        stop = asyncio.create_task(stopping.wait())
        try:
            async with asyncio.TaskGroup() as batches:
                while (leases := await self._next(consumer, stop)) is not None:
                    task = batches.create_task(self._work(leases))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
        finally:
            stop.cancel()
            await consumer.close()

    async def _next(self, consumer: Consumer, stop: asyncio.Task[bool]) -> Sequence[Lease] | None:
        """The next batch, with a slot taken for it; None when it is time to stop."""
        await self._slots.acquire()
        await self._gather(stop)
        if stop.done():
            return None
        taking = asyncio.ensure_future(consumer.take(self._most))
        try:
            await asyncio.wait({taking, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # What was taken is worked on, even when it is time to stop.
            if not taking.done():
                taking.cancel()
                await asyncio.wait({taking})
        if taking.cancelled():
            return None
        leases = taking.result()
        # After a full batch there is more to do at once.
        self._begun = time.monotonic() if len(leases) < self._most else -math.inf
        return leases

    async def _gather(self, stop: asyncio.Task[bool]) -> None:
        """Under load, let jobs come together; after a pause the first one is taken at once."""
        interval = self._interval()
        left = self._begun + interval - time.monotonic()
        if left > 0:
            await asyncio.wait({stop}, timeout=left)
        left = self._begun + SLOW_SECONDS - time.monotonic()
        if interval and self._under_way and left > 0:
            # Beside a quick batch a second one would only take its company away.
            waited = {stop, *self._under_way}
            await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self, leases: Sequence[Lease]) -> None:
        start = time.perf_counter()
        try:
            await self._attempt(leases)
        finally:
            self._slots.release()
            _SECONDS.labels(self._name).observe(time.perf_counter() - start)

    async def _attempt(self, leases: Sequence[Lease]) -> None:
        """Handle a batch to its end: acked, put back, or parked."""
        spent = [lease for lease in leases if lease.attempt >= self._max_attempts]
        for lease in spent:
            await self._set_aside(lease, f"given up after {lease.attempt} attempts")
        if spent:
            leases = [lease for lease in leases if lease.attempt < self._max_attempts]
        if not leases:
            return
        try:
            done = await self._patiently(lambda: self._handle(leases))
        except Exception as error:
            await self._blame(leases, error)
            return
        if done:
            for lease in leases:
                await lease.ack()
            _JOBS.labels(self._name, "done").inc(len(leases))

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do it, again while a backend is away: nobody's job's fault.  False: time to stop."""
        pause = FIRST_PAUSE
        while True:
            try:
                await work()
            except self._transient as error:
                log.warning("backend is away", queue=self._name, error=str(error))
            else:
                return True
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                pause = min(pause * 2, MAX_PAUSE)
            else:
                return False

    async def _blame(self, leases: Sequence[Lease], error: Exception) -> None:
        """Find the job that makes a batch fail by halving it."""
        if len(leases) > 1:
            middle = len(leases) // 2
            await self._attempt(leases[:middle])
            await self._attempt(leases[middle:])
            return
        (lease,) = leases
        if (
            isinstance(error, Poison | msgspec.MsgspecError)
            or lease.attempt + 1 >= self._max_attempts
        ):
            await self._set_aside(lease, f"{type(error).__name__}: {error}")
            return
        delay = DELAYS[min(lease.attempt, len(DELAYS) - 1)]
        log.error(
            "job failed",
            queue=self._name,
            attempt=lease.attempt,
            again_seconds=delay,
            exc_info=error,
        )
        await self._again(lease, delay)

    async def _again(self, lease: Lease, delay: float) -> None:
        if await self._patiently(lambda: lease.requeue(delay)):
            _JOBS.labels(self._name, "requeued").inc()

    async def _set_aside(self, lease: Lease, reason: str) -> None:
        """Park: the row first, the ack after it; without the row it comes again."""
        try:
            parked = await self._patiently(lambda: self._park(lease, reason))
        except Exception:
            log.exception("cannot park", queue=self._name, reason=reason)
            await self._again(lease, DELAYS[-1])
            return
        if parked:
            await lease.ack()
            _JOBS.labels(self._name, "parked").inc()
