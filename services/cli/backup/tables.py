"""Tables as files, and back, on either dialect."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, Table, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db import Database
from libs.common.db.bulk import columns_of, insert_sql
from services.cli.backup.archive import Archive, TableFile, frame, frames, sha256_of
from services.cli.backup.progress import Progress
from services.platform import StartError

TRANSIENT = frozenset(
    {"session", "rate", "idempotency", "watermark", "sweep", "garbage", "routine"}
)
"""Worth nothing later: people log in again, counters and looks begin anew."""
_OWN = frozenset({"secret", "block", "trace"})
"""What roles may have written into a database that is still empty."""
_ROWS = 1000
_NOT_PLAIN = text("SELECT name FROM pragma_table_list WHERE type IN ('virtual', 'shadow')")


def tables_of(connection: Connection) -> list[Table]:
    """Name and columns of all tables, each after those that it refers to."""
    inspector = inspect(connection)
    # Of a full-text index and the tables that it is made of: triggers fill it anew.
    virtual = (
        set(connection.execute(_NOT_PLAIN).scalars())
        if connection.dialect.name == "sqlite"
        else set()
    )
    sorted_names = [name for name, _ in inspector.get_sorted_table_and_fkc_names() if name]
    names = [name for name in sorted_names if name not in virtual]
    return [
        Table(
            name,
            MetaData(),
            *(Column(item["name"], item["type"]) for item in inspector.get_columns(name)),
        )
        for name in names
        if name != "alembic_version"
    ]


async def dump(
    connection: AsyncConnection,
    archive: Archive,
    folder: Path,
    progress: Progress,
    watch: dict[str, Callable[[Any], None]],
) -> list[TableFile]:
    """Every table of a snapshot as a file; `watch` sees each row of the tables that it names."""
    tables = await connection.run_sync(tables_of)
    return [
        await _dump_table(connection, archive, folder, table, progress, watch.get(table.name))
        for table in tables
        if table.name not in TRANSIENT
    ]


async def _dump_table(
    connection: AsyncConnection,
    archive: Archive,
    folder: Path,
    table: Table,
    progress: Progress,
    watch: Callable[[Any], None] | None,
) -> TableFile:
    path, count = folder / f"{table.name}.rows.gz", 0
    with archive.packing(path) as packed:
        result = await connection.stream(select(table).execution_options(yield_per=_ROWS))
        async for rows in result.partitions():
            if watch:
                for row in rows:
                    watch(row)
            await asyncio.to_thread(packed.write, frame([tuple(row) for row in rows]))
            count += len(rows)
            progress.step(f"database: {table.name}, {count:,} rows")
    columns = tuple(str(column.name) for column in table.columns)
    return TableFile(str(table.name), columns, count, sha256_of(path).hex())


async def require_empty(database: Database) -> None:
    """`StartError` when there is anything in the database that a restore would mix with."""
    async with database.engine.connect() as connection:
        tables = await connection.run_sync(tables_of)
        for table in tables:
            if table.name in TRANSIENT | _OWN:
                continue
            if (await connection.execute(select(table).limit(1))).first() is not None:
                raise StartError(
                    f"the database is not empty: there are rows in {table.name}; restore into"
                    " a new one (HOLUB_DATABASE_URL), for what is there is never overwritten"
                )


async def load(
    database: Database, folder: Path, files: Sequence[TableFile], progress: Progress
) -> int:
    """All tables in one transaction, so that a load that fails leaves nothing; how many rows."""
    for item in files:
        path = folder / f"{item.name}.rows.gz"
        if sha256_of(path).hex() != item.sha256:
            raise StartError(f"{path} does not match its checksum; restore another backup")
    total = 0
    async with database.engine.connect() as connection:
        if database.dialect == "sqlite":
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        tables = {table.name: table for table in await connection.run_sync(tables_of)}
        for item in files:
            total += await _load_table(connection, tables[item.name], folder, item, progress)
        await connection.commit()
    return total


async def _load_table(
    connection: AsyncConnection, table: Table, folder: Path, item: TableFile, progress: Progress
) -> int:
    dialect, count = connection.dialect.name, 0
    sql = insert_sql(table, item.columns, dialect, False)
    with gzip.open(folder / f"{item.name}.rows.gz") as file:
        for rows in frames(file):
            await connection.exec_driver_sql(sql, _parameters(dialect, item.columns, rows))
            count += len(rows)
            progress.step(f"database: {item.name}, {count:,} of {item.rows:,} rows")
    if count != item.rows:
        raise StartError(f"{item.name} has {count} rows instead of {item.rows}; the file is cut")
    if dialect == "postgresql" and "id" in item.columns:
        # The next id comes after those that were restored.
        await connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{item.name}', 'id'),"  # noqa: S608
                f" (SELECT COALESCE(MAX(id), 0) + 1 FROM {item.name}), false)"
            )
        )
    return count


def _parameters(dialect: str, columns: tuple[str, ...], rows: list[list[Any]]) -> Any:
    if dialect == "sqlite":
        return [tuple(row) for row in rows]
    # SQLite keeps NUL in a text, PostgreSQL cannot.
    named = [
        {
            name: value.replace("\0", "") if isinstance(value, str) else value
            for name, value in zip(columns, row, strict=True)
        }
        for row in rows
    ]
    return tuple(columns_of(named, columns))
