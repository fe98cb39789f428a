"""The second and the third look: marked segments into the trash, and out of it for ever.

Each look asks anew whether anything is needed.  What is needed after all loses its mark.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, select, update

from libs.common.blobstore.protocol import BlobCorrupt, BlobMissing, BlobStore, IndexEntry
from libs.common.db import Database, Transaction
from libs.common.db.schema import garbage, message
from libs.common.garbage.needed import Need, needs
from libs.common.garbage.rules import Pass, Rules
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_PAGE = 500


class Trash:
    """The rows of `garbage`, and the segments that they name."""

    def __init__(
        self, database: Database, blobs: BlobStore, rules: Rules, done: Pass, *, dry_run: bool
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._rules = rules
        self._done = done
        self._dry_run = dry_run

    async def empty(self, now: float, before: float, held: Collection[str]) -> None:
        """Delete what lay in the trash for the grace, and put into it what waited long enough."""
        async for row in self._rows():
            if row.trashed_at is None:
                due, step, state = row.marked_at + self._rules.wait_seconds, "trashed", "waiting"
            else:
                due, step, state = row.trashed_at + self._rules.grace_seconds, "deleted", "trash"
            need = Need.LATER
            if due <= now:
                need = Need.OPEN if row.segment in held else await self._go(row, step, now, before)
            if need is Need.OPEN:
                await self._unmark(row)
            name = {Need.LATER: state, Need.OPEN: "spared", Need.NOTHING: step}[need]
            self._done.count(name, row.octets)

    async def _rows(self) -> Any:
        after = ""
        while True:
            query = select(garbage).where(garbage.c.segment > after).order_by(garbage.c.segment)
            async with self._database.reading() as transaction:
                rows = await transaction.rows(query.limit(_PAGE))
            for row in rows:
                yield row
            if len(rows) < _PAGE:
                return
            after = rows[-1].segment

    async def _go(self, row: Any, step: str, now: float, before: float) -> Need:
        """Go on with a segment that nothing needs."""
        try:
            records = await self._blobs.records(row.segment)
        except BlobMissing:
            records = []  # deleted by a pass that was cut off before it could say so
        except BlobCorrupt as error:
            log.error("segment is damaged and kept", segment=row.segment, error=str(error))
            return Need.OPEN
        if self._dry_run:
            async with self._database.reading() as transaction:
                return await _need(transaction, row.segment, records, before)
        if step == "trashed":
            return await self._to_trash(row.segment, records, now, before)
        return await self._delete(row.segment, records, before)

    async def _to_trash(
        self, segment: str, records: list[IndexEntry], now: float, before: float
    ) -> Need:
        await failpoint("gc.before_trash")
        async with self._database.transaction() as transaction:
            need = await _need(transaction, segment, records, before)
            if need is Need.NOTHING:
                row = (garbage.c.segment == segment, garbage.c.trashed_at.is_(None))
                await transaction.execute(update(garbage).where(*row).values(trashed_at=now))
        await failpoint("gc.trashed")
        return need

    async def _delete(self, segment: str, records: list[IndexEntry], before: float) -> Need:
        async with self._database.reading() as transaction:
            need = await _need(transaction, segment, records, before)
        if need is not Need.NOTHING:
            return need
        await failpoint("gc.before_delete")
        await self._blobs.delete(segment)
        log.info("segment deleted", segment=segment, records=len(records))
        # The row goes last: cut off here, the next pass finds the row and nothing behind it.
        await failpoint("gc.deleted")
        await self._drop(garbage.c.segment == segment)
        return need

    async def _unmark(self, row: Any) -> None:
        log.error("marked as garbage and needed after all", segment=row.segment)
        if not self._dry_run:
            await self._drop(garbage.c.segment == row.segment)

    async def _drop(self, which: ColumnElement[bool]) -> None:
        async with self._database.transaction() as transaction:
            await transaction.execute(delete(garbage).where(which))


async def _need(
    transaction: Transaction, segment: str, records: list[IndexEntry], before: float
) -> Need:
    """OPEN when anything needs the segment, LATER when that cannot be said yet, else NOTHING."""
    # Also by the place alone, whatever the records say of themselves.
    query = select(message.c.mail_id).where(message.c.segment == segment).limit(1)
    if await transaction.scalar(query) is not None:
        return Need.OPEN
    try:
        found = set(await needs(transaction, records, before))
    except msgspec.MsgspecError:
        return Need.OPEN
    if found & {Need.OPEN, Need.ROW}:
        return Need.OPEN
    return Need.LATER if Need.LATER in found else Need.NOTHING
