"""Counts and blocks of one process, and the task that shares them with the other replicas."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import rate
from libs.common.limits.block import Blocks
from libs.common.limits.counter import Counts, Limit
from libs.common.runtime.log import get_logger
from libs.common.runtime.routine import end
from libs.common.runtime.survive import survive

log = get_logger(__name__)
EXCHANGE_SECONDS = 1.0
BLOCKS_EXCHANGES = 2
"""Blocks are read at every second exchange."""
_PURGE_SECONDS = 300.0

Told = dict[tuple[str, int, int], int]


class Limits:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self.counts = Counts()
        self.blocks = Blocks(database)
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._purge_at = time.time() + _PURGE_SECONDS

    def start(self) -> None:
        """From now on shared; again is no harm."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Tell what is left, and stop."""
        if self._task is not None:
            await end(self._task)
            with contextlib.suppress(DatabaseUnavailable):
                await self.exchange()

    async def _run(self) -> None:
        turn = 0
        while True:
            with survive(log, "limits are not shared now", DatabaseUnavailable):
                await self.exchange(blocks=turn % BLOCKS_EXCHANGES == 0)
            turn += 1
            await asyncio.sleep(EXCHANGE_SECONDS)

    async def exchange(self, *, blocks: bool = True) -> None:
        """Tell the others what was counted here, and learn what they counted."""
        if blocks:
            await self.blocks.exchange(time.time())
        told = self.counts.take()
        if told:
            await self._tell(told)
        if watched := self.counts.watched(time.time()):
            async with self._database.reading() as transaction:
                found = await _totals(transaction, watched)
            for key, window, hits in found:
                self.counts.learn(key, window, hits)

    async def recall(self, limits: Mapping[str, Limit], now: float) -> None:
        """Learn what is kept of keys that this process has not met: of others, or of before.

        One query for each key in the life of a process; while the database is away, nothing.
        """
        new = [key for key in limits if key not in self.counts]
        if not new:
            return
        try:
            async with self._database.reading() as transaction:
                found = await _totals(transaction, new)
        except DatabaseUnavailable as error:
            log.warning("cannot see what was counted before", error=str(error))
            return
        for key in new:
            self.counts.add(key, limits[key], now, 0)
        for key, window, hits in found:
            self.counts.learn(key, window, hits)

    async def _tell(self, told: Told) -> None:
        async def work(transaction: Transaction) -> None:
            await _add(transaction, told)
            await self._purge(transaction)

        try:
            await self._database.retry(work)
        except Exception:
            # It may have been counted after all: then it counts twice, for one window.
            self.counts.untold(told)
            raise

    async def _purge(self, transaction: Transaction) -> None:
        now = time.time()
        if now >= self._purge_at:
            self._purge_at = now + _PURGE_SECONDS
            await transaction.execute(delete(rate).where(rate.c.expires_at <= now))


async def _add(transaction: Transaction, told: Told) -> None:
    insert: Any = sqlite.insert if transaction.dialect == "sqlite" else postgresql.insert
    statement = insert(rate)
    statement = statement.on_conflict_do_update(
        index_elements=[rate.c.key, rate.c.window],
        set_={"hits": rate.c.hits + statement.excluded.hits},
    )
    # Sorted, so that two replicas never wait for each other's rows.
    rows = [
        {"key": key, "window": window, "hits": hits, "expires_at": (window + 2) * seconds}
        for (key, window, seconds), hits in sorted(told.items())
    ]
    await transaction.execute(statement, rows)


async def _totals(transaction: Transaction, keys: list[str]) -> list[Any]:
    query = select(rate.c.key, rate.c.window, rate.c.hits).where(
        in_list(rate.c.key, keys, transaction.dialect)
    )
    return list(await transaction.rows(query.order_by(rate.c.key, rate.c.window)))
