"""Messages that are stored while neither the queue nor the database took their job.

They are safe: the sweeper finds them in their segments.  So that nobody waits for it, this
process puts their jobs as soon as the queue is back.  How many there may be is bounded, and a
restart does not begin to count anew: what no row accounts for is looked up in the segments,
but for what may merely wait in a queue, of which a backlog of filter's is no reason to refuse mail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from prometheus_client import Gauge

from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.db import Database, DatabaseUnavailable
from libs.common.jobs import FilterJob, Origin, encode
from libs.common.jobs.record import decode_header
from libs.common.queue.protocol import Queue, QueueError
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from libs.common.trace import accounted, taken_before
from services.ingress.settings import IngressSettings

log = get_logger(__name__)
_COUNT = Gauge("holub_ingress_unpublished", "Messages accepted without a job.")
_AGAIN_SECONDS = 1.0
_RECOUNT_SECONDS = 30.0
_YOUNG_SECONDS = 60.0
"""What is younger may simply be on its way."""
_CHUNK = 500
_PUT_AT_ONCE = 64


class _Left(NamedTuple):
    """A message that an earlier process left."""

    octets: int
    received_at: float


class Unpublished:
    """The jobs in hand, what an earlier process left, and the bound on both."""

    def __init__(
        self, blobs: BlobStore, queue: Queue, database: Database, settings: IngressSettings
    ) -> None:
        self._blobs = blobs
        self._queue = queue
        self._database = database
        self._settings = settings
        self._jobs: dict[str, FilterJob] = {}
        self._found: dict[str, _Left] = {}
        """By mail_id, until a row has them."""
        self._octets = 0
        self._tasks: list[asyncio.Task[None]] = []
        _COUNT.set_function(lambda: len(self._jobs) + len(self._found))

    @property
    def full(self) -> bool:
        """No more may be accepted: the answer is 451 until some are put."""
        settings = self._settings
        count = len(self._jobs) + len(self._found)
        return count >= settings.max_unpublished or self._octets >= settings.max_unpublished_octets

    def add(self, job: FilterJob) -> None:
        """This message is stored, and nobody knows of it but us."""
        self._jobs[job.header.mail_id] = job
        self._octets += job.blob.length

    def start(self) -> None:
        """Count what is left from earlier, and put what comes."""
        self._tasks = [asyncio.create_task(self._put()), asyncio.create_task(self._recount())]

    async def close(self) -> None:
        """Try once more; what is left then is for the sweeper."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._put_once()

    async def _put(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._put_once()

    async def _put_once(self) -> None:
        while self._jobs:
            jobs = list(self._jobs.values())[:_PUT_AT_ONCE]
            put = False
            with survive(log, "unpublished messages wait", QueueError, TimeoutError):
                async with asyncio.timeout(self._settings.publish_seconds):
                    await self._queue.put("filter", [encode(job) for job in jobs])
                put = True
            if not put:
                return
            log.info("put from the segments", messages=len(jobs))
            for job in jobs:
                del self._jobs[job.header.mail_id]
                self._octets -= job.blob.length

    async def _recount(self) -> None:
        """Look for what an earlier process left; then, until all of it has rows, again."""
        counted = False
        while not counted or self._found:
            with survive(log, "cannot count what is unpublished", BlobError, DatabaseUnavailable):
                if counted:
                    await self._forget_accounted()
                else:
                    await self.count()
                    counted = True
            await asyncio.sleep(_RECOUNT_SECONDS)

    async def count(self) -> None:
        """Find what an earlier process left."""
        async for chunk in self._recent(await self._line()):
            missing = [m for m in await self._missing(list(chunk)) if m not in self._found]
            room = self._settings.max_unpublished - len(self._found)
            for mail_id in missing[: max(room, 0)]:
                self._found[mail_id] = chunk[mail_id]
                self._octets += chunk[mail_id].octets
            if room <= len(missing):
                return

    async def _line(self) -> float:
        """What was received after it may wait in a queue, or be on its way there."""
        now = time.time()
        try:
            taken = await taken_before(self._database, self._queue, now, _YOUNG_SECONDS)
        except QueueError:
            # What the queue has cannot be told from what it never got: rather too many.
            taken = now
        return min(now - _YOUNG_SECONDS, taken)

    async def _recent(self, before: float) -> AsyncIterator[dict[str, _Left]]:
        """By mail_id, in chunks, the records of this hour and the last."""
        now, chunk = datetime.fromtimestamp(time.time(), UTC), {}
        for hour in (now - timedelta(hours=1), now):
            async for entry in self._blobs.index(hour):
                header = decode_header(entry.header)
                if header.origin is Origin.SMTP and header.received_at < before:
                    chunk[header.mail_id] = _Left(entry.ref.length, header.received_at)
                if len(chunk) == _CHUNK:
                    yield chunk
                    chunk = {}
        if chunk:
            yield chunk

    async def _missing(self, ids: Sequence[str]) -> list[str]:
        async with self._database.reading() as transaction:
            known = (await accounted(transaction, ids)).mail_ids()
        return [mail_id for mail_id in ids if mail_id not in known]

    async def _forget_accounted(self) -> None:
        line, ids = await self._line(), list(self._found)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            missing = set(await self._missing(chunk))
            for mail_id in chunk:
                if mail_id not in missing or self._found[mail_id].received_at >= line:
                    self._octets -= self._found.pop(mail_id).octets
