"""An engine with transactions that keep their promises on both dialects."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Executable, Table, event, extract, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.db.bulk import columns_of, in_list, insert_sql

T = TypeVar("T")
Values = Mapping[str, Any]

_RETRIED = ("40001", "40P01")  # serialization_failure, deadlock_detected
_BUSY_SECONDS = 10.0


class DatabaseUnavailable(Exception):
    """No connection, or it was lost: what was under way may or may not have been committed."""


class Transaction:
    """What one caller does atomically; made by `Database`, never shared between tasks."""

    def __init__(self, connection: AsyncConnection, dialect: str) -> None:
        self._connection = connection
        self.dialect = dialect

    async def rows(self, statement: Executable, parameters: Any = None) -> Sequence[Any]:
        """All rows of a query."""
        return (await self._connection.execute(statement, parameters)).all()

    async def one_or_none(self, statement: Executable, parameters: Any = None) -> Any:
        """The first row, or None."""
        return (await self._connection.execute(statement, parameters)).first()

    async def scalar(self, statement: Executable, parameters: Any = None) -> Any:
        """The first column of the first row, or None."""
        return (await self._connection.execute(statement, parameters)).scalar()

    async def execute(self, statement: Executable, parameters: Any = None) -> int:
        """Run a change; how many rows it touched."""
        result = await self._connection.execute(statement, parameters)
        return getattr(result, "rowcount", -1)

    async def now(self) -> float:
        """Seconds since 1970 by the one clock that all processes share: leases are told by it."""
        if self.dialect == "postgresql":
            return float(await self.scalar(select(extract("epoch", func.clock_timestamp()))))
        return time.time()

    async def insert(self, table: Table, rows: Sequence[Values], *, ignore: bool = False) -> None:
        """Insert many rows in one statement; `ignore` skips those that are there."""
        if not rows:
            return
        columns = tuple(rows[0])
        sql = insert_sql(table, columns, self.dialect, ignore)
        if self.dialect == "sqlite":
            parameters: Any = [tuple(row[name] for name in columns) for row in rows]
        else:
            parameters = tuple(columns_of(rows, columns))
        await self._connection.exec_driver_sql(sql, parameters)

    async def insert_new(
        self, table: Table, rows: Sequence[Values], keys: tuple[str, ...]
    ) -> list[Values]:
        """Insert those rows whose key is not there yet, and give just these back.

        Two transactions that insert the same key at once: one waits for the other's end.
        """
        unique = {tuple(row[key] for key in keys): row for row in reversed(rows)}
        if not unique:
            return []
        columns = [table.c[key] for key in keys]
        if self.dialect == "postgresql":
            names = tuple(rows[0])
            returning = ", ".join(f'"{key}"' for key in keys)
            sql = insert_sql(table, names, self.dialect, True) + f" RETURNING {returning}"
            arrays = tuple(columns_of(list(unique.values()), names))
            result = await self._connection.exec_driver_sql(sql, arrays)
            new = {tuple(row) for row in result.all()}
            return [row for key, row in unique.items() if key in new][::-1]
        # The only writer is this transaction (BEGIN IMMEDIATE), so looking first is exact.
        first = in_list(columns[0], {key[0] for key in unique}, self.dialect)
        known = {tuple(row) for row in await self.rows(select(*columns).where(first))}
        fresh = [row for key, row in unique.items() if key not in known][::-1]
        await self.insert(table, fresh)
        return fresh


class Database:
    """A pool of connections to one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        # SQLite takes one writer at a time; queueing here is fair, its own busy loop is not.
        self._writer = asyncio.Lock() if self.dialect == "sqlite" else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end, rolls back on any exception.

        `DatabaseUnavailable` from the block's end means: unknown whether it was committed.
        """
        if self._writer is None:
            async with self._begin() as transaction:
                yield transaction
            return
        async with self._writer, self._begin(immediate=True) as transaction:
            yield transaction

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """A snapshot for reading; it waits for nobody."""
        async with self._begin() as transaction:
            yield transaction

    async def reach(self) -> None:
        """Ask for nothing; `DatabaseUnavailable` says why there is no answer."""
        try:
            async with self.engine.connect() as connection:
                await connection.exec_driver_sql("SELECT 1")
        except Exception as error:  # the driver's own, while a server starts or refuses us
            raise DatabaseUnavailable(str(error).split("\n", 1)[0]) from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of all tables until the block ends, for streaming large ones."""
        try:
            async with self.engine.connect() as connection:
                if self.dialect == "sqlite":
                    await connection.exec_driver_sql("BEGIN")
                else:
                    await connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                yield connection
        except (DBAPIError, OSError, PoolTimeout) as error:
            if _is_lost(error):
                raise DatabaseUnavailable(str(error).split("\n", 1)[0]) from error
            raise

    @asynccontextmanager
    async def _begin(self, *, immediate: bool = False) -> AsyncIterator[Transaction]:
        try:
            async with self.engine.connect() as connection:
                if self.dialect == "sqlite":
                    await connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
                else:
                    await connection.begin()
                yield Transaction(connection, self.dialect)
                await connection.commit()
        except (DBAPIError, OSError, PoolTimeout) as error:
            if _is_lost(error):
                raise DatabaseUnavailable(str(error).split("\n", 1)[0]) from error
            raise

    async def retry(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again after a deadlock or a serialization failure."""
        for attempt in range(5):
            try:
                async with self.transaction() as transaction:
                    return await work(transaction)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _RETRIED or attempt == 4:
                    raise
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


_SQLITE_LOST = ("unable to open", "locked", "disk", "i/o error", "full", "readonly")


def _is_lost(error: Exception) -> bool:
    if isinstance(error, OSError | PoolTimeout | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    # Class 08 connection, 53 resources, 57P0x shutdown, 58 the system, 25006 read-only, as a
    # server is before it is promoted (PostgreSQL, appendix A).
    if error.connection_invalidated or state[:2] in ("08", "53", "58"):
        return True
    if state.startswith("57P") or state == "25006":
        return True
    text = str(error.orig).lower()
    return isinstance(error, OperationalError) and any(word in text for word in _SQLITE_LOST)


def open_database(url: str, *, pool: int = 8) -> Database:
    """A database by URL: `sqlite:///PATH` or `postgresql://...`; nothing is connected yet."""
    if url.startswith("sqlite:"):
        return Database(_sqlite(url.removeprefix("sqlite:").removeprefix("//")))
    if url.startswith(("postgresql:", "postgres:")):
        return Database(
            create_async_engine(
                "postgresql+asyncpg:" + url.split(":", 1)[1],
                pool_size=pool,
                max_overflow=0,
                pool_timeout=10,
                pool_pre_ping=False,
                connect_args={"timeout": 5, "command_timeout": 60},
            )
        )
    raise ValueError(f"HOLUB_DATABASE_URL: no backend for {url!r}; use sqlite: or postgresql:")


def sqlite_path(rest: str) -> str:
    """`/var/x.db` of `sqlite:///var/x.db` is relative, as in SQLAlchemy; `////` is absolute."""
    return rest[1:] if rest.startswith("/") else rest


def _sqlite(rest: str) -> AsyncEngine:
    path = sqlite_path(rest)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        pool_size=4,
        max_overflow=4,
        connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-32000",
            "mmap_size=268435456",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


__all__ = ["Database", "DatabaseUnavailable", "Transaction", "open_database"]
