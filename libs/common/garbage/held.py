"""What jobs in rows ask for: the content that they name by its place."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import LargeBinary, select
from sqlalchemy.sql.schema import Column

from libs.common.blobstore.protocol import BlobRef
from libs.common.db import Database
from libs.common.db.schema import deferred, outbox, parked

_PAGE = 2000


class _AnyJob(msgspec.Struct):
    blob: BlobRef | None = None


_decoder = msgspec.json.Decoder(_AnyJob)


async def held_segments(database: Database) -> set[str]:
    """The segments that a deferred, parked or outbox job names.

    A forward has a `mail_id` of its own and its parent's content, so the place counts here, not
    the name.  A body that nobody can read names nothing; its messages have no terminal state.
    """
    found: set[str] = set()
    for key, body in ((outbox.c.id, outbox.c.body), (parked.c.id, parked.c.body)):
        after = 0
        while True:
            query = select(key, body).where(key > after).order_by(key).limit(_PAGE)
            async with database.reading() as transaction:
                rows = await transaction.rows(query)
            found |= _segments(row[1] for row in rows)
            if len(rows) < _PAGE:
                break
            after = rows[-1][0]
    return found | await _deferred(database, deferred.c.job)


async def _deferred(database: Database, body: Column[LargeBinary]) -> set[str]:
    found: set[str] = set()
    after = ""
    while True:
        # By message, not by row: all rows of one message hold the same place.
        query = select(deferred.c.mail_id, body).where(deferred.c.mail_id > after)
        async with database.reading() as transaction:
            rows = await transaction.rows(query.order_by(deferred.c.mail_id).limit(_PAGE))
        found |= _segments(row[1] for row in rows)
        if len(rows) < _PAGE:
            return found
        after = rows[-1][0]


def _segments(bodies: Iterable[bytes]) -> set[str]:
    found = set()
    for body in bodies:
        try:
            blob = _decoder.decode(body).blob
        except msgspec.MsgspecError:
            continue
        if blob:
            found.add(blob.segment)
    return found
