"""Pages of long lists: a cursor is the sort key of the last row seen, so no page shifts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, tuple_

from libs.common.accounts.registry import RegistryError
from libs.common.db import Transaction

MOST = 1000


def encode_cursor(values: Sequence[Any]) -> str:
    """Sort key to cursor."""
    return base64.urlsafe_b64encode(orjson.dumps(list(values))).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: Sequence[type]) -> list[Any]:
    """Cursor to sort key; `RegistryError` when it is none of ours."""
    wrong = RegistryError("cursor", "give `next` of the page before, as it came")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = orjson.loads(raw)
    except ValueError as error:
        raise wrong from error
    if not isinstance(values, list) or len(values) != len(kinds):
        raise wrong
    for value, kind in zip(values, kinds, strict=True):
        if type(value) is not kind or (isinstance(value, str) and "\0" in value):
            raise wrong
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise wrong
    return values


def plain(row: Any) -> dict[str, Any]:
    """A row as a dictionary whose names are plain texts, which JSON writers insist on."""
    return {str(name): value for name, value in row._mapping.items()}


async def page(
    transaction: Transaction,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    cursor: str,
    limit: int,
    *,
    descending: bool = False,
) -> tuple[list[dict[str, Any]], str | None]:
    """Rows (as mappings) in the order of `keys`, which are selected and unique, and the cursor."""
    names = [key.key for key in keys]
    if cursor:
        kinds = [key.type.python_type for key in keys]
        seen = decode_cursor(cursor, kinds)
        after = tuple_(*keys) < tuple_(*seen) if descending else tuple_(*keys) > tuple_(*seen)
        query = query.where(after)
    order = [key.desc() if descending else key for key in keys]
    found = await transaction.rows(query.order_by(*order).limit(limit + 1))
    rows = [plain(row) for row in found[:limit]]
    more = len(found) > limit
    return rows, encode_cursor([rows[-1][str(name)] for name in names]) if more else None
