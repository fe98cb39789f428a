"""Bring a database to the schema of this version."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SAWarning

from libs.common.db.database import Database

_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 0x484F4C55  # "HOLU": two `holub migrate` at once, one waits


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


def head() -> str:
    """The revision that this version of the code expects."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("no migrations are installed")
    return revision


def _upgrade(connection: Connection, revision: str = "head") -> None:
    config = _config()
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    command.upgrade(config, revision)


_FUNCTIONS = text("""
    SELECT p.oid::regprocedure::text FROM pg_proc p
     WHERE p.pronamespace = current_schema()::regnamespace AND NOT EXISTS (
           SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""")


_VIRTUAL = text("SELECT name FROM pragma_table_list WHERE type = 'virtual'")


async def begin_anew(database: Database, revision: str) -> None:
    """Drop all tables, and make those of a revision: for a database that nothing is in."""

    def work(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            # A full-text index takes the tables that it is made of along.
            for name in connection.execute(_VIRTUAL).scalars().all():
                connection.execute(text(f'DROP TABLE "{name}"'))
        found = MetaData()
        with warnings.catch_warnings():
            # Of indexes over expressions, which are dropped with their tables all the same.
            warnings.simplefilter("ignore", SAWarning)
            found.reflect(connection)
        found.drop_all(connection)
        if connection.dialect.name == "postgresql":
            for name in connection.execute(_FUNCTIONS).scalars().all():
                connection.execute(text(f"DROP FUNCTION {name}"))
        _upgrade(connection, revision)

    async with database.engine.begin() as connection:
        await connection.run_sync(work)


def knows(revision: str) -> bool:
    """Whether this version of the code has the migrations up to that revision."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return revision in {script.revision for script in scripts}


async def migrate(database: Database) -> str:
    """Apply what is missing, and give the revision reached; a newer schema stays as it is."""
    async with database.engine.begin() as connection:
        revision: str | None = await connection.run_sync(_current)
        if revision is not None and fits(revision):
            return revision
        await connection.run_sync(_upgrade)
    return head()


def _current(connection: Connection) -> Any:
    return MigrationContext.configure(connection).get_current_revision()


def fits(revision: str | None) -> bool:
    """Whether this version of the code can work on a database at that revision.

    A revision that this version does not know was made by a newer one, whose migrations the
    version before it can run on: so both may run side by side while an upgrade rolls on.
    """
    return revision is not None and (revision == head() or not knows(revision))


async def current(database: Database) -> str | None:
    """The revision that the database is at; None when it is empty."""
    async with database.engine.connect() as connection:
        revision: str | None = await connection.run_sync(_current)
        return revision
