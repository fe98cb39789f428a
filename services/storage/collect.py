"""Garbage collection from time to time, by one process of all."""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import update

from libs.common.blobstore.protocol import BlobError
from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.schema import routine
from libs.common.garbage import Collector
from libs.common.queue.protocol import QueueError
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive

log = get_logger(__name__)
_NAME = "gc"
_LOOK_SECONDS = 300.0


async def claim(database: Database, name: str, every: float, now: float) -> bool:
    """Whether it is due, and ours: no other process begins it for `every` seconds."""
    async with database.transaction() as transaction:
        await transaction.insert(routine, [{"name": name, "begun_at": 0.0}], ignore=True)
        due = (routine.c.name == name, routine.c.begun_at <= now - every)
        return bool(await transaction.execute(update(routine).where(*due).values(begun_at=now)))


async def collect_garbage(database: Database, collector: Collector, every: float) -> None:
    """Collect for ever; a backend that is away ends a pass, and the next one goes on."""
    while True:
        await asyncio.sleep(min(every, _LOOK_SECONDS))
        with survive(log, "garbage is collected later", DatabaseUnavailable, QueueError, BlobError):
            if await claim(database, _NAME, every, time.time()):
                await collector.collect(time.time())
