"""What the command line does on the database itself, below the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from libs.common.db import Database, open_database
from libs.common.db.migrate import current, head, migrate
from libs.common.runtime.settings import PlatformSettings
from services.__main__ import StartError

T = TypeVar("T")


def with_database(work: Callable[[Database], Awaitable[T]], *, migrated: bool = True) -> T:
    """Run one piece of work on the database that the settings name."""

    async def run() -> T:
        settings: PlatformSettings = PlatformSettings.load()
        database = open_database(settings.database_url, pool=2)
        try:
            if migrated and await current(database) != head():
                raise StartError("the database is not at this version's schema; run: holub migrate")
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def migrate_database() -> str:
    """Apply the migrations; the revision reached."""
    return with_database(migrate, migrated=False)
