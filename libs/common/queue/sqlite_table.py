"""The table of jobs: what the embedded queue says to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_INSERT = "INSERT INTO job (queue, body, attempt, not_before, put_at) VALUES (?, ?, 0, 0, ?)"
_POSTPONE = "UPDATE job SET attempt = ?, not_before = ?, suspect = 0 WHERE id = ?"
_DUE = """SELECT id, body, attempt, suspect FROM job
           WHERE queue = ? AND not_before > 0 AND not_before <= ? ORDER BY not_before LIMIT ?"""
_AFTER = """SELECT id, body, attempt, suspect FROM job
             WHERE queue = ? AND id > ? AND not_before = 0 ORDER BY id LIMIT ?"""
_SOONEST = "SELECT MIN(not_before) FROM job WHERE queue = ? AND not_before > 0"


@dataclass(slots=True)
class Row:
    """A job in the table."""

    id: int
    body: bytes
    attempt: int
    suspect: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What a look into the table found."""

    rows: list[Row]
    cursor: int
    """Everything up to this id was seen."""
    behind: bool
    """There is probably more."""
    soonest: float | None
    """When the next postponed job is due (unix time)."""


def insert(
    connection: sqlite3.Connection, queue: str, bodies: Sequence[bytes], now: float
) -> list[Row]:
    """Put jobs; ids ascend in the order of commits."""
    rows = []
    for body in bodies:
        number = connection.execute(_INSERT, (queue, body, now)).lastrowid
        rows.append(Row(number or 0, body, 0, False))
    return rows


def remove(connection: sqlite3.Connection, number: int) -> None:
    """A job is done."""
    connection.execute("DELETE FROM job WHERE id = ?", (number,))


def postpone(connection: sqlite3.Connection, number: int, attempt: int, not_before: float) -> None:
    """A job comes again at a time (0: now); it is no suspect, for its holder lives."""
    connection.execute(_POSTPONE, (attempt, not_before, number))


def mark_suspects(connection: sqlite3.Connection, numbers: Collection[int]) -> None:
    """The holder of these died."""
    sql = "UPDATE job SET attempt = attempt + 1, suspect = 1 WHERE id = ?"
    connection.executemany(sql, [(number,) for number in numbers])


def look(connection: sqlite3.Connection, queue: str, cursor: int, now: float, most: int) -> Page:
    """Postponed jobs that are due, then jobs after the cursor in the order of their puts."""
    due = connection.execute(_DUE, (queue, now, most)).fetchall()
    # They are in hand now, so they must not be found again.
    sql = "UPDATE job SET not_before = 0 WHERE id = ?"
    connection.executemany(sql, [(number,) for number, *_ in due])
    after = connection.execute(_AFTER, (queue, cursor, most)).fetchall()
    (soonest,) = connection.execute(_SOONEST, (queue,)).fetchone()
    rows = [Row(number, body, attempt, bool(suspect)) for number, body, attempt, suspect in due]
    seen = {row.id for row in rows}
    rows += [Row(n, body, attempt, bool(s)) for n, body, attempt, s in after if n not in seen]
    last = after[-1][0] if after else cursor
    return Page(rows, last, len(after) == most or len(due) == most, soonest)


def count(connection: sqlite3.Connection, queue: str) -> tuple[int, float]:
    """(jobs, when the oldest was put)."""
    (jobs,) = connection.execute("SELECT COUNT(*) FROM job WHERE queue = ?", (queue,)).fetchone()
    sql = "SELECT put_at FROM job WHERE queue = ? ORDER BY id LIMIT 1"
    found = connection.execute(sql, (queue,)).fetchone()
    return int(jobs), float(found[0]) if found else 0.0


def data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when somebody else writes, and not when we do."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
