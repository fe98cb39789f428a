"""Trace rows: what happened to a message, in the words of the glossary.

A role writes the rows of a batch in the transaction that does what they tell (`write_trace`).
Where there is no such transaction (a refusal before DATA) a `TraceWriter` collects them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.schema import trace
from libs.common.runtime.log import get_logger

log = get_logger(__name__)

MAX_WHY = 500
"""Characters of `why`; longer texts are cut."""


class TraceRow(msgspec.Struct, frozen=True):
    """One step of a message, or of one recipient of it."""

    mail_id: str
    stage: str
    """The role."""
    what: str
    """accepted, refused, deferred, delivered, ..."""
    n: int = -1
    """The recipient's ordinal; -1: the whole message."""
    recipient: str = ""
    why: str = ""
    """Reply, rule, mailbox: what a postmaster asks next."""
    at: float = 0.0
    """Seconds since the epoch; 0: now."""
    took: float = 0.0
    """Seconds that the step took."""


async def write_trace(transaction: Transaction, rows: Sequence[TraceRow]) -> None:
    """Insert rows within the caller's transaction, in one statement."""
    now = time.time()
    await transaction.insert(
        trace,
        [
            {
                "mail_id": row.mail_id,
                "n": row.n,
                "at": row.at or now,
                "stage": row.stage,
                "what": row.what,
                # A stranger may have said it, and NUL cannot be stored as text in PostgreSQL.
                "recipient": row.recipient.replace("\0", ""),
                "why": row.why[:MAX_WHY].replace("\0", ""),
                "took": row.took,
            }
            for row in rows
        ],
    )


class TraceWriter:
    """Collects rows and writes them every second, away from the caller's path.

    Never raises into the caller, and bounded: with the database away the oldest rows go.
    """

    def __init__(self, database: Database, *, most: int = 10_000) -> None:
        self._database = database
        self._rows: list[TraceRow] = []
        self._most = most
        self._task = asyncio.create_task(self._run())

    def add(self, row: TraceRow) -> None:
        """Write this row soon."""
        if len(self._rows) >= self._most:
            del self._rows[: self._most // 10]
        self._rows.append(row if row.at else msgspec.structs.replace(row, at=time.time()))

    async def close(self) -> None:
        """Write what is left."""
        self._task.cancel()
        await self._flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self._flush()

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            async with self._database.transaction() as transaction:
                await write_trace(transaction, rows)
        except DatabaseUnavailable as error:
            log.warning("trace rows wait for the database", rows=len(rows), error=str(error))
            self._rows = (rows + self._rows)[-self._most :]
        except Exception:
            # Kept, they would fail for ever, and every later row with them.
            log.exception("trace rows are dropped", rows=len(rows))
