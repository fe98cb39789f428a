"""Databases at the present schema: SQLite files are copied from one that was migrated once.

Thirteen migrations and more take a quarter of a second, and hundreds of tests begin with them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from libs.common.db import Database, open_database
from libs.common.db.migrate import migrate

_folder = tempfile.TemporaryDirectory(prefix="holub-schema-")


async def at_head(database: Database) -> None:
    """What `migrate` does; quicker for a SQLite file that is not there yet."""
    name = database.engine.url.database
    if database.dialect == "sqlite" and name and not Path(name).exists():
        shutil.copy(await _template(), name)
    else:
        await migrate(database)


async def _template() -> Path:
    path = Path(_folder.name) / "holub.db"
    if not path.exists():
        making = path.with_suffix(".making")
        database = open_database(f"sqlite:///{making}", pool=1)
        await migrate(database)
        await database.close()
        making.rename(path)
    return path
