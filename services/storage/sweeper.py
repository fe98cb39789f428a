"""The sweeper: rebuilds from the segments what no queue and no row accounts for.

The durable record is the promise, the queue only the fast way to keep it.  A (mail_id, recipient)
without outcome, deferred, quarantine, outbox or parked row, older than the watermark of every
queue, is put again as a filter job: every queue may be deleted, and nobody has to act (I16).
What we wrote ourselves (a DSN, a vacation answer) is ours once a row names it as the effect of
another message; the record alone is left by an attempt that came to nothing, and is not sent.
"""

from __future__ import annotations

import asyncio
import math
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
from libs.common.trace import (
    RELAY,
    Accounts,
    TraceRow,
    accounted,
    caused,
    planned_to_leave,
    taken_before,
    write_trace,
)
from services.storage.settings import StorageSettings

log = get_logger(__name__)
_SWEPT = Counter("holub_storage_swept_total", "Messages that the sweeper put again.")
_UNACCOUNTED = Gauge(
    "holub_unaccounted",
    "Recipients of accepted messages past the sweep age that no row accounts for.",
)
_CHUNK = 500
_ACCEPTED = (Origin.SMTP, Origin.API)
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record that may be accounted for nowhere."""

    entry: IndexEntry
    header: RecordHeader

    @property
    def units(self) -> set[tuple[str, int]]:
        """A (mail_id, n) for each recipient."""
        return {(self.header.mail_id, r.n) for r in self.header.envelope.recipients}


@dataclass(frozen=True, slots=True)
class Lines:
    """Which records are old enough to be missed."""

    all: float
    """Received before this: no queue that all mail goes through has it any more."""
    leaving: float
    """The same for relay's queue."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found of some suspects."""

    lost: list[tuple[Suspect, int]]
    """Accounted for nowhere, and for how many recipients."""
    open: bool
    """Some recipient is not at its end, and without a row of its own that leads there."""


class Sweeper:
    """One pass lists the record index of recent hours and puts again what is missing."""

    def __init__(
        self, database: Database, queue: Queue, blobs: BlobStore, settings: StorageSettings
    ) -> None:
        self._database = database
        self._queue = queue
        self._blobs = blobs
        self._settings = settings
        self._next_look: dict[datetime, float] = {}

    async def run(self) -> None:
        """Sweep for ever; a backend that is away ends a pass, not the sweeper."""
        while True:
            await asyncio.sleep(self._settings.sweep_every_seconds)
            with survive(log, "sweep waits", DatabaseUnavailable, QueueError, BlobError):
                await self.sweep(time.time())

    async def sweep(self, now: float) -> int:
        """One pass at a given time; how many messages were put again."""
        lines = await self._lines(now)
        swept = missing = 0
        for hour in await self._hours(now):
            lost, still_open = 0, False
            async for suspects in self._suspects(hour, lines.all):
                looked = await self._look(suspects, lines)
                still_open |= looked.open
                lost += sum(units for _, units in looked.lost)
                swept += await self._put_again([suspect for suspect, _ in looked.lost], now)
            missing += lost
            if not lost and hour.timestamp() + 2 * _HOUR < lines.all:
                # Nothing is added to this hour any more.  What only a job in a row holds may be
                # dropped with it, so then there is another look; else this was the last one.
                again = self._settings.sweep_again_seconds
                self._next_look[hour] = now + again if still_open else math.inf
        _UNACCOUNTED.set(missing)
        return swept

    async def _lines(self, now: float) -> Lines:
        age = self._settings.sweep_after_seconds
        queues = await taken_before(self._database, self._queue, now, age)
        relay = await taken_before(self._database, self._queue, now, age, RELAY)
        return Lines(min(now - age, queues), min(now - age, relay))

    async def _hours(self, now: float) -> list[datetime]:
        oldest = datetime.fromtimestamp(now - self._settings.sweep_hours * _HOUR, UTC)
        hours = [h for h in await self._blobs.hours() if h >= oldest]
        return [h for h in hours if self._next_look.get(h, 0.0) <= now]

    async def _suspects(self, hour: datetime, before: float) -> AsyncIterator[list[Suspect]]:
        """Records that are swept at all and old enough, in chunks."""
        chunk: list[Suspect] = []
        async for entry in self._blobs.index(hour):
            header = decode_header(entry.header)
            if header.origin is not Origin.IMAP and header.received_at < before:
                chunk.append(Suspect(entry, header))
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def _look(self, suspects: Sequence[Suspect], lines: Lines) -> Looked:
        """Ask the ledger for all of them at once."""
        async with self._database.reading() as transaction:
            rows = await accounted(transaction, [s.header.mail_id for s in suspects])
            still_open = [s for s in suspects if not s.units <= rows.settled]
            missed = await _ours(transaction, [s for s in still_open if _missing(s, rows)])
            waits = await _on_relays_queue(transaction, missed, lines.leaving)
        counts = [(s, len(_missing(s, rows) - waits)) for s in missed]
        return Looked([(s, count) for s, count in counts if count], bool(still_open))

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


def _missing(suspect: Suspect, rows: Accounts) -> set[tuple[str, int]]:
    return {unit for unit in suspect.units if not rows.have(*unit)}


async def _ours(transaction: Transaction, suspects: Sequence[Suspect]) -> list[Suspect]:
    """Those that we took responsibility for: accepted, or caused by a message that we had."""
    children = [s.header.mail_id for s in suspects if s.header.origin not in _ACCEPTED]
    named = await caused(transaction, children) if children else set()
    return [s for s in suspects if s.header.origin in _ACCEPTED or s.header.mail_id in named]


async def _on_relays_queue(
    transaction: Transaction, suspects: Sequence[Suspect], line: float
) -> set[tuple[str, int]]:
    """Recipients whose jobs may still wait for relay, which makes rows only when it takes them."""
    newer = [s.header.mail_id for s in suspects if s.header.received_at >= line]
    return await planned_to_leave(transaction, newer) if newer else set()
