"""Compaction: what is still needed of a segment that is mostly dead is copied into new ones.

Copied and durable first, then the rows move, each only if it still points to the old place.  A
crash between the two leaves copies that nothing points to, which are garbage in their turn.  The
old segment is marked by a later pass, so whoever noted its place can still read it for weeks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import BigInteger, bindparam, update

from libs.common.blobstore.protocol import BlobRef, BlobStore, IndexEntry
from libs.common.db import Database, Transaction
from libs.common.db.schema import message
from libs.common.jobs.record import decode_header
from libs.common.runtime.failpoint import failpoint

_AT_ONCE = 64
"""Records that are in memory together; none of them is over 256 KiB, for those lie alone."""
_MOVE = (
    update(message)
    .where(
        message.c.mail_id == bindparam("b_mail_id"),
        message.c.segment == bindparam("b_from"),
        message.c.record_offset == bindparam("b_at", type_=BigInteger),
    )
    .values(segment=bindparam("b_to"), record_offset=bindparam("b_offset", type_=BigInteger))
)


async def compact(database: Database, blobs: BlobStore, records: Sequence[IndexEntry]) -> int:
    """Move these records, to which rows point; how many there were.

    `BlobCorrupt` when one of them cannot be read as it was written: then none of its batch moves.
    """
    for at in range(0, len(records), _AT_ONCE):
        batch = records[at : at + _AT_ONCE]
        copies = await asyncio.gather(*(_copy(blobs, item) for item in batch))
        await failpoint("gc.copied")
        moves = [_move(item, to) for item, to in zip(batch, copies, strict=True)]

        async def work(transaction: Transaction, moves: list[dict[str, object]] = moves) -> None:
            await transaction.execute(_MOVE, moves)
            await failpoint("gc.before_move")

        await database.retry(work)
        await failpoint("gc.moved")
    return len(records)


async def _copy(blobs: BlobStore, item: IndexEntry) -> BlobRef:
    record = await blobs.read(item.ref)
    return await blobs.put(record.header, record.content, key=decode_header(record.header).mail_id)


def _move(item: IndexEntry, to: BlobRef) -> dict[str, object]:
    return {
        "b_mail_id": decode_header(item.header).mail_id,
        "b_from": item.ref.segment,
        "b_at": item.ref.offset,
        "b_to": to.segment,
        "b_offset": to.offset,
    }
