"""The sweeper: rebuilds from the segments what no queue and no row accounts for.

The durable record is the promise, the queue only the fast way to keep it.  A (mail_id, recipient)
without outcome, deferred, quarantine, outbox or parked row, older than the watermark of every
queue, is put again as a filter job: every queue may be deleted, and nobody has to act (I16).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge
from sqlalchemy import select

from libs.common.blobstore.protocol import BlobError, BlobStore, IndexEntry
from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import sweep
from libs.common.jobs import FilterJob, Origin, RecordHeader, encode
from libs.common.jobs.record import decode_header
from libs.common.queue.protocol import Queue, QueueError
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from libs.common.trace import TraceRow, accounted, taken_before, write_trace
from services.storage.settings import StorageSettings

log = get_logger(__name__)
_SWEPT = Counter("holub_storage_swept_total", "Messages that the sweeper put again.")
_UNACCOUNTED = Gauge(
    "holub_unaccounted",
    "Recipients of accepted messages past the sweep age that no row accounts for.",
)
_CHUNK = 500
_SWEPT_ORIGINS = (Origin.SMTP, Origin.API)
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record that may be accounted for nowhere."""

    entry: IndexEntry
    header: RecordHeader


class Sweeper:
    """One pass lists the record index of recent hours and puts again what is missing."""

    def __init__(
        self, database: Database, queue: Queue, blobs: BlobStore, settings: StorageSettings
    ) -> None:
        self._database = database
        self._queue = queue
        self._blobs = blobs
        self._settings = settings
        self._settled: set[datetime] = set()

    async def run(self) -> None:
        """Sweep for ever; a backend that is away ends a pass, not the sweeper."""
        while True:
            await asyncio.sleep(self._settings.sweep_every_seconds)
            with survive(log, "sweep waits", DatabaseUnavailable, QueueError, BlobError):
                await self.sweep(time.time())

    async def sweep(self, now: float) -> int:
        """One pass at a given time; how many messages were put again."""
        age = self._settings.sweep_after_seconds
        before = min(now - age, await taken_before(self._database, self._queue, now, age))
        swept = missing = 0
        for hour in await self._hours(now):
            found = 0
            async for suspects in self._suspects(hour, before):
                lost = await self._missing(suspects)
                found += len(lost)
                missing += sum(units for _, units in lost)
                swept += await self._put_again([suspect for suspect, _ in lost], now)
            if not found and hour.timestamp() + 2 * _HOUR < before:
                # Everything of this hour is accounted for, and nothing is added to it any more.
                self._settled.add(hour)
        _UNACCOUNTED.set(missing)
        return swept

    async def _hours(self, now: float) -> list[datetime]:
        oldest = datetime.fromtimestamp(now - self._settings.sweep_hours * _HOUR, UTC)
        return [h for h in await self._blobs.hours() if h >= oldest and h not in self._settled]

    async def _suspects(self, hour: datetime, before: float) -> AsyncIterator[list[Suspect]]:
        """Records that are swept at all and old enough, in chunks."""
        chunk: list[Suspect] = []
        async for entry in self._blobs.index(hour):
            header = decode_header(entry.header)
            if header.origin in _SWEPT_ORIGINS and header.received_at < before:
                chunk.append(Suspect(entry, header))
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _missing(self, suspects: Sequence[Suspect]) -> list[tuple[Suspect, int]]:
        """Those with recipients that nothing accounts for, and how many these are."""
        ids = [suspect.header.mail_id for suspect in suspects]
        async with self._database.reading() as transaction:
            units, whole = await accounted(transaction, ids)
        missing = []
        for suspect in suspects:
            header = suspect.header
            count = sum((header.mail_id, r.n) not in units for r in header.envelope.recipients)
            if count and header.mail_id not in whole:
                missing.append((suspect, count))
        return missing

    async def _put_again(self, suspects: Sequence[Suspect], now: float) -> int:
        """Put filter jobs for those that were not put again lately; how many."""
        if not suspects:
            return 0
        due = await self._due(suspects, now)
        if not due:
            return 0
        # Put first, noted after: a crash between the two puts a job twice, which all bear.
        jobs = [encode(FilterJob(s.entry.ref, s.header, swept=1)) for s in due]
        await self._queue.put("filter", jobs)
        await failpoint("storage.swept")
        async with self._database.transaction() as transaction:
            await self._note(transaction, due, now)
        for suspect in due:
            log.warning("swept", mail_id=suspect.header.mail_id, segment=suspect.entry.ref.segment)
        _SWEPT.inc(len(due))
        return len(due)

    async def _due(self, suspects: Sequence[Suspect], now: float) -> list[Suspect]:
        """Those that were not put again lately."""
        ids = [suspect.header.mail_id for suspect in suspects]
        query = select(sweep.c.mail_id).where(
            in_list(sweep.c.mail_id, ids, self._database.dialect),
            sweep.c.swept_at > now - self._settings.sweep_again_seconds,
        )
        async with self._database.reading() as transaction:
            lately = {row.mail_id for row in await transaction.rows(query)}
        return [s for s in suspects if s.header.mail_id not in lately]

    async def _note(self, transaction: Transaction, due: Sequence[Suspect], now: float) -> None:
        rows = [{"mail_id": s.header.mail_id, "swept_at": now} for s in due]
        new = {row["mail_id"] for row in await transaction.insert_new(sweep, rows, ("mail_id",))}
        again = [s.header.mail_id for s in due if s.header.mail_id not in new]
        await transaction.execute(
            sweep.update()
            .where(in_list(sweep.c.mail_id, again, transaction.dialect))
            .values(times=sweep.c.times + 1, swept_at=now)
        )
        why = "no queue and no row had it"
        await write_trace(
            transaction,
            [TraceRow(s.header.mail_id, "storage", "swept", why=why, at=now) for s in due],
        )
