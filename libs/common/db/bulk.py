"""Set-based statements: many rows in one round trip, on either dialect.

On PostgreSQL a batch is one statement over `unnest` of typed arrays, so its cost does not grow
with the SQL text; on SQLite it is one prepared statement run in one hop to the thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Table, any_, bindparam, func, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY

_PG = postgresql.dialect()  # type: ignore[no-untyped-call]


@lru_cache(maxsize=256)
def insert_sql(table: Table, columns: tuple[str, ...], dialect: str, ignore: bool) -> str:
    """The INSERT for rows with these columns, in the driver's own parameter style."""
    names = ", ".join(f'"{name}"' for name in columns)
    conflict = " ON CONFLICT DO NOTHING" if ignore else ""
    if dialect == "sqlite":
        marks = ", ".join("?" * len(columns))
        return f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}){conflict}'  # noqa: S608
    arrays = ", ".join(
        f"${i}::{table.c[name].type.compile(dialect=_PG)}[]" for i, name in enumerate(columns, 1)
    )
    # Names come from the schema, never from outside; values are parameters.
    source = f"unnest({arrays})"
    return f'INSERT INTO "{table.name}" ({names}) SELECT * FROM {source}{conflict}'  # noqa: S608


def columns_of(rows: Sequence[Any], columns: Sequence[str]) -> list[list[Any]]:
    """Rows (mappings) turned into one array for each column."""
    return [[row[name] for row in rows] for name in columns]


def in_list(column: ColumnElement[Any], values: Iterable[Any], dialect: str) -> ColumnElement[bool]:
    """`column` is one of `values`, with a statement text that does not depend on their number."""
    items = list(values)
    if dialect == "postgresql":
        return column == any_(bindparam(None, items, type_=ARRAY(column.type)))
    # One JSON parameter: SQLite limits the number of bound variables.
    source = func.json_each(bindparam(None, _json(items))).table_valued("value")
    if not items:
        return literal(False)
    return column.in_(source.select())


def _json(items: list[Any]) -> str:
    return orjson.dumps(items).decode()
