"""The migrations lead to the schema that the code uses."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.db.schema import metadata


def _differences(connection: Connection) -> object:
    return compare_metadata(MigrationContext.configure(connection), metadata)


async def test_the_migrations_make_just_the_tables_of_the_schema(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/holub.db")
    await migrate(database)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await database.close()
