"""Which schema a database is at, and whether this version of the code can work on it.

Told from the names of the migrations (`0013_sending.py` is revision 0013, after 0012), so that
those who only ask do not load what it takes to migrate.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from libs.common.db.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def _revisions() -> list[str]:
    names = (path.name for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    return sorted(name.partition("_")[0] for name in names)


def head() -> str:
    """The revision that this version of the code expects."""
    if not _revisions():
        raise RuntimeError("no migrations are installed")
    return _revisions()[-1]


def knows(revision: str) -> bool:
    """Whether this version of the code has the migrations up to that revision."""
    return revision in _revisions()


def fits(revision: str | None) -> bool:
    """Whether this version of the code can work on a database at that revision.

    A revision that this version does not know was made by a newer one, whose migrations the
    version before it can run on: so both may run side by side while an upgrade rolls on.
    """
    return revision is not None and (revision == head() or not knows(revision))


def revision_of(connection: Connection) -> str | None:
    """The revision that a connection's database is at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


async def current(database: Database) -> str | None:
    """The revision that the database is at; None when it is empty."""
    async with database.engine.connect() as connection:
        revision: str | None = await connection.run_sync(revision_of)
        return revision
