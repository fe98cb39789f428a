"""Bring a database to the schema of this version."""

from __future__ import annotations

import warnings

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import SAWarning

from libs.common.db.database import Database
from libs.common.db.revision import MIGRATIONS, fits, head, revision_of

_LOCK = 0x484F4C55  # "HOLU": two `holub migrate` at once, one waits


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


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


async def migrate(database: Database) -> str:
    """Apply what is missing, and give the revision reached; a newer schema stays as it is."""
    async with database.engine.begin() as connection:
        revision: str | None = await connection.run_sync(revision_of)
        if revision is not None and fits(revision):
            return revision
        await connection.run_sync(_upgrade)
    return head()
