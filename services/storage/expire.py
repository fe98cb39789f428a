"""What is looked after now and then: expunged mail, and mail in quarantine."""

from __future__ import annotations

import asyncio
import time

from libs.common.admin.release import expire_held, settle_released
from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.db import Database, DatabaseUnavailable
from libs.common.mailstore.recover import expire
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive

log = get_logger(__name__)
EVERY_SECONDS = 600.0


async def expire_recoverable(database: Database) -> None:
    """Look every ten minutes, for ever; what is due goes in steps, so that nobody waits long."""
    while True:
        with survive(log, "expunged mail is forgotten later", DatabaseUnavailable):
            while await database.retry(expire):
                await asyncio.sleep(0.1)
        await asyncio.sleep(EVERY_SECONDS)


async def look_after_quarantine(database: Database, blobs: BlobStore, days: float) -> None:
    """Discard what nobody decided on in time, and see released mail to its end, for ever."""
    while True:
        with survive(log, "quarantine is looked after later", DatabaseUnavailable, BlobError):
            while await expire_held(database, time.time() - days * 86400):
                await asyncio.sleep(0.1)
            if again := await settle_released(database, blobs):
                log.warning("released mail is put again", messages=again)
        await asyncio.sleep(EVERY_SECONDS)
