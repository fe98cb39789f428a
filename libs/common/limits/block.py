"""Blocks: who may do nothing until when, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.schema import block
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
MOST_BLOCKS = 100_000
"""Blocks that a process knows; the newest are kept."""


@dataclass(frozen=True, slots=True)
class Block:
    """One key that is blocked: `auth:ip/192.0.2.1`, `auth:account/alice@example.org`."""

    key: str
    reason: str
    created_at: float
    until: float


class Blocks:
    """The blocks in force, as this process knows them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Block] = {}
        self._unwritten: dict[str, Block] = {}

    def find(self, keys: Iterable[str], now: float) -> Block | None:
        """The first of these keys that is blocked."""
        if not self._known:
            return None
        for key in keys:
            found = self._known.get(key)
            if found is not None and found.until > now:
                return found
        return None

    def add(self, key: str, reason: str, seconds: float, now: float) -> Block:
        """Block a key here at once, and everywhere with the next exchange."""
        new = Block(key, reason, now, now + seconds)
        self._known[key] = self._unwritten[key] = new
        log.warning("blocked", key=key, reason=reason, seconds=seconds)
        return new

    async def exchange(self, now: float) -> None:
        """Write the new ones, and read all that are in force."""
        writing, self._unwritten = self._unwritten, {}
        try:
            if writing:
                await _write(self._database, list(writing.values()))
            found = await _in_force(self._database, now)
        except DatabaseUnavailable:
            self._unwritten = {**writing, **self._unwritten}
            raise
        self._known = {item.key: item for item in found} | self._unwritten


async def _write(database: Database, new: list[Block]) -> None:
    rows = [
        {"key": b.key, "reason": b.reason, "created_at": b.created_at, "until": b.until}
        for b in sorted(new, key=lambda b: b.key)
    ]
    async with database.transaction() as transaction:
        await transaction.execute(delete(block).where(block.c.until <= time.time()))
        for row in rows:
            await transaction.execute(delete(block).where(block.c.key == row["key"]))
        await transaction.insert(block, rows, ignore=True)


async def _in_force(database: Database, now: float) -> list[Block]:
    query = select(block.c.key, block.c.reason, block.c.created_at, block.c.until)
    query = query.where(block.c.until > now).order_by(block.c.until.desc()).limit(MOST_BLOCKS)
    async with database.reading() as transaction:
        return [Block(*row) for row in await transaction.rows(query)]
