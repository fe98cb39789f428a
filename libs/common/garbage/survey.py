"""Looking at segments that are not marked: what is needed of them, and what is to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import func, select

from libs.common.blobstore.protocol import BlobCorrupt, BlobMissing, BlobStore, IndexEntry, Segment
from libs.common.db import Database
from libs.common.db.bulk import in_list
from libs.common.db.schema import garbage, message
from libs.common.garbage.compact import compact
from libs.common.garbage.needed import Need, needs
from libs.common.garbage.rules import Pass
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pass may touch."""

    before: float
    """Received before this time."""
    held: Collection[str]
    """Segments that jobs in rows name."""
    compact_below: float
    dry_run: bool
    without: Collection[str] = ()
    """Messages whose rows a dry run takes for gone, ..."""
    freed: Counter[str] = field(default_factory=Counter)
    """... and their octets by segment."""


class Survey:
    """Marks segments without a needed record, and compacts those with few."""

    def __init__(self, database: Database, blobs: BlobStore, scope: Scope, done: Pass) -> None:
        self._database = database
        self._blobs = blobs
        self._scope = scope
        self._done = done

    async def look(self, segments: Sequence[Segment], now: float) -> None:
        """Decide on segments of one hour."""
        for at in range(0, len(segments), _CHUNK):
            chunk = segments[at : at + _CHUNK]
            marked, octets = await self._known([segment.key for segment in chunk])
            for segment in chunk:
                if segment.key not in marked:
                    await self._decide(segment, octets[segment.key], now)

    async def _known(self, keys: Sequence[str]) -> tuple[set[str], Counter[str]]:
        """Which of them are marked, and the octets of each that rows point to."""
        dialect = self._database.dialect
        marks = select(garbage.c.segment).where(in_list(garbage.c.segment, keys, dialect))
        sums = select(message.c.segment, func.sum(message.c.record_length))
        sums = sums.where(in_list(message.c.segment, keys, dialect)).group_by(message.c.segment)
        async with self._database.reading() as transaction:
            marked = {row.segment for row in await transaction.rows(marks)}
            pointed = {key: int(octets) for key, octets in await transaction.rows(sums)}
        octets = Counter(pointed)
        octets.subtract({key: self._scope.freed[key] for key in keys})
        return marked, octets

    async def _decide(self, segment: Segment, octets: int, now: float) -> None:
        key, size = segment.key, segment.octets
        if key in self._scope.held:
            self._done.count("pinned", size)
        elif octets > self._scope.compact_below * size:
            # Mostly needed: not worth a look inside, however many such segments there are.
            self._done.count("live", size)
        else:
            await self._examine(segment, now)

    async def _examine(self, segment: Segment, now: float) -> None:
        try:
            records = await self._blobs.records(segment.key)
            async with self._database.reading() as transaction:
                found = await needs(transaction, records, self._scope.before, self._scope.without)
            await self._act(segment, records, found, now)
        except BlobMissing:
            return  # deleted since it was listed
        except (BlobCorrupt, msgspec.MsgspecError) as error:
            # Whatever is wrong with it, a person decides; `holub fsck` names the messages.
            log.error("segment is damaged and kept", segment=segment.key, error=str(error))
            self._done.count("damaged", segment.octets)

    async def _act(
        self, segment: Segment, records: Sequence[IndexEntry], found: Sequence[Need], now: float
    ) -> None:
        if Need.OPEN in found or Need.LATER in found:
            self._done.count("pinned", segment.octets)
        elif Need.ROW not in found:
            self._done.count("marked", segment.octets)
            await self._mark(segment, now)
        elif not self._scope.compact_below:
            self._done.count("live", segment.octets)
        else:
            needed = [r for r, need in zip(records, found, strict=True) if need is Need.ROW]
            if not self._scope.dry_run:
                await compact(self._database, self._blobs, needed)
            self._done.count("compacted", segment.octets)
            self._done.moved += len(needed)

    async def _mark(self, segment: Segment, now: float) -> None:
        if self._scope.dry_run:
            return
        await failpoint("gc.before_mark")
        row = {"segment": segment.key, "octets": segment.octets, "marked_at": now}
        async with self._database.transaction() as transaction:
            await transaction.insert(garbage, [row], ignore=True)
