"""The migrations lead to the schema that the code uses."""

from __future__ import annotations

import warnings
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.db.schema import metadata

EXPRESSIONS = {"ix_message_subject", "ix_quarantine_domain"}
"""Indexes over expressions, which SQLite cannot show as such: only that they are there."""


def _comparable(_: object, name: str | None, kind: str, *rest: object) -> bool:
    if kind == "table" and (name or "").startswith("search_fts"):
        return False  # FTS5 keeps its own tables beside the one that is made
    return kind != "index" or name not in EXPRESSIONS


def _differences(connection: Connection) -> object:
    made = {name for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    assert made >= EXPRESSIONS
    options = {"include_object": _comparable}
    context = MigrationContext.configure(connection, opts=options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based")
        return compare_metadata(context, metadata)


async def test_the_migrations_make_just_the_tables_of_the_schema(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/holub.db")
    await migrate(database)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await database.close()
