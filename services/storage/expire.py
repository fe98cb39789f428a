"""Forgetting expunged mail that can be had back no longer."""

from __future__ import annotations

import asyncio

from libs.common.db import Database, DatabaseUnavailable
from libs.common.mailstore.recover import expire
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
EVERY_SECONDS = 600.0


async def expire_recoverable(database: Database) -> None:
    """Look every ten minutes, for ever; what is due goes in steps, so that nobody waits long."""
    while True:
        try:
            while await database.retry(expire):
                await asyncio.sleep(0.1)
        except DatabaseUnavailable as error:
            log.warning("expunged mail is forgotten later", error=str(error))
        await asyncio.sleep(EVERY_SECONDS)
