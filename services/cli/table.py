"""Answers as a table for people or as one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def show(
    rows: Sequence[dict[str, Any]], as_json: bool, title: str, columns: Sequence[str] = ()
) -> None:
    """Print rows; `columns` picks and orders those of the table, JSON has them all."""
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False))
        return
    if not rows:
        print(f"{title}: none")
        return
    from rich.console import Console
    from rich.table import Table

    names = list(columns) or list(rows[0])
    table = Table(title=title)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in names))
    Console(width=None if sys.stdout.isatty() else 160, markup=False).print(table)


def show_one(item: dict[str, Any], as_json: bool, title: str) -> None:
    """Print one thing as `name value` lines."""
    if as_json:
        print(json.dumps(item, ensure_ascii=False))
        return
    print(title)
    width = max(map(len, item), default=0)
    for name, value in item.items():
        print(f"  {name.replace('_', ' '):{width}}  {_cell(name, value)}")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith(("_at", "at")) and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
