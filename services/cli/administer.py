"""What the command line does on the database itself, below the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from libs.common.db import Database, DatabaseUnavailable, open_database
from libs.common.db.revision import current, fits
from libs.common.runtime.settings import PlatformSettings
from services.platform import StartError

T = TypeVar("T")
_LOOK_SECONDS = 2.0


def with_database(work: Callable[[Database], Awaitable[T]], *, migrated: bool = True) -> T:
    """Run one piece of work on the database that the settings name."""

    async def run() -> T:
        settings: PlatformSettings = PlatformSettings.load()
        database = open_database(settings.database_url, pool=2)
        try:
            if migrated and not fits(await current(database)):
                raise StartError("the database is not at this version's schema; run: holub migrate")
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def migrate_database() -> str:
    """Apply the migrations; the revision reached."""
    from libs.common.db.migrate import migrate

    return with_database(migrate, migrated=False)


def await_schema(seconds: float) -> None:
    """Return when the database is at a schema that this version can work on; `StartError` late."""
    with_database(lambda database: _await_schema(database, seconds), migrated=False)


async def _await_schema(database: Database, seconds: float) -> None:
    why = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    revision = await current(database)
                    why = f"it is at {revision or 'no revision'}"
                    if fits(revision):
                        return
                except (DatabaseUnavailable, SQLAlchemyError, OSError) as error:
                    why = str(error)
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise StartError(f"the database was not made ready in {seconds:.0f} s: {why}") from None
