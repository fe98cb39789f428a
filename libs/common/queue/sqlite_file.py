"""The file behind the embedded queue: one thread, one connection, grouped commits."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from libs.common.queue.protocol import QueueError
from libs.common.runtime.failpoint import failpoint_sync

if TYPE_CHECKING:
    from libs.common.queue.sqlite import SqliteConsumer

T = TypeVar("T")
_MOST_GROUPED = 512
_HELD = struct.Struct("<q")
_COMPACT_OCTETS = 1 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body BLOB NOT NULL,
    attempt INTEGER NOT NULL, not_before REAL NOT NULL, put_at REAL NOT NULL,
    suspect INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS ix_job_queue ON job (queue, id);
"""
_INSERT = "INSERT INTO job (queue, body, attempt, not_before, put_at) VALUES (?, ?, 0, 0, ?)"
_POSTPONE = "UPDATE job SET attempt = ?, not_before = ?, suspect = 0 WHERE id = ?"
_LOAD = """SELECT id, body, attempt, suspect FROM job
            WHERE queue = ? AND not_before <= ? ORDER BY id LIMIT ?"""
_COUNT = "SELECT COUNT(*), COALESCE(MIN(put_at), 0) FROM job WHERE queue = ?"


@dataclass(frozen=True, slots=True)
class Row:
    """A job in the table."""

    id: int
    body: bytes
    attempt: int
    suspect: bool

    def again(self, attempt: int, *, suspect: bool) -> Row:
        """The same job, to be handed out once more."""
        return replace(self, attempt=attempt, suspect=suspect)


class Held:
    """The ids that were handed out, noted so that the next process knows the suspects."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        self._octets = 0

    def read(self) -> list[int]:
        """What the last process had been handed; forgotten after this call."""
        raw = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        whole = len(raw) - len(raw) % _HELD.size
        os.ftruncate(self._fd, 0)
        return [number for (number,) in _HELD.iter_unpack(raw[:whole])]

    def note(self, ids: Sequence[int]) -> None:
        """These are handed out now."""
        raw = struct.pack(f"<{len(ids)}q", *ids)
        self._octets += len(raw)
        if self._octets > _COMPACT_OCTETS:
            # Ids ascend and old ones are settled; what is still held of them is only marked
            # as a suspect less, never lost.
            keep = os.pread(
                self._fd,
                _COMPACT_OCTETS // 2,
                max(0, self._octets - len(raw) - _COMPACT_OCTETS // 2),
            )
            os.ftruncate(self._fd, 0)
            raw = keep + raw
            self._octets = len(raw)
        os.write(self._fd, raw)

    def close(self) -> None:
        """Nothing is held any more."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


@dataclass(slots=True)
class _Work:
    run: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any] | None


class QueueFile:
    """Runs work on the connection in its thread; what waits together is one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._work: deque[_Work] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._lock_fd = -1
        self._data_version = -1
        self.healthy = True
        self.consumers: dict[str, SqliteConsumer] = {}
        self._held: Held | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._thread.start()

    @property
    def held(self) -> Held:
        """The note of what is handed out; there is one only in the consuming process."""
        assert self._held is not None
        return self._held

    async def become_consumer(self) -> None:
        """Take the file for this process, and mark what a dead one had in hand as suspects."""
        if self._held is not None:
            return
        fd = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise QueueError(
                f"{self._path} is in use by another Holub process; stop it, or set HOLUB_QUEUE_URL"
                " to another file"
            ) from error
        self._lock_fd = fd
        self._held = Held(Path(f"{self._path}.held"))
        suspects = [(number,) for number in self._held.read()]
        sql = "UPDATE job SET attempt = attempt + 1, suspect = 1 WHERE id = ?"
        await self._do(lambda connection: connection.executemany(sql, suspects))

    async def put(self, queue: str, jobs: Sequence[bytes]) -> list[Row]:
        """Insert; durable on return."""
        now = time.time()

        def work(connection: sqlite3.Connection) -> list[Row]:
            rows = []
            for body in jobs:
                number = connection.execute(_INSERT, (queue, body, now)).lastrowid
                rows.append(Row(number or 0, body, 0, False))
            return rows

        return await self._do(work)

    async def remove(self, number: int) -> None:
        """Delete, in the next group; not waited for, since a lost ack is only a repetition."""
        self._add(_Work(lambda c: c.execute("DELETE FROM job WHERE id = ?", (number,)), None))

    async def postpone(self, row: Row, not_before: float) -> None:
        """Set attempt and time; durable on return."""
        values = (row.attempt, not_before, row.id)
        await self._do(lambda connection: connection.execute(_POSTPONE, values))

    async def load(self, queue: str, now: float, most: int) -> list[Row]:
        """Due jobs in the order in which they were put."""
        found = await self._do(lambda c: c.execute(_LOAD, (queue, now, most)).fetchall())
        return [Row(i, body, attempt, bool(suspect)) for i, body, attempt, suspect in found]

    async def count(self, queue: str) -> tuple[int, float]:
        """(jobs, when the oldest was put)."""
        count, oldest = await self._do(lambda c: c.execute(_COUNT, (queue,)).fetchone())
        return int(count), float(oldest)

    async def changed_by_others(self) -> bool:
        """Has another process written, or did delayed jobs of a dead one become due?"""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            sql = "SELECT EXISTS (SELECT 1 FROM job WHERE not_before > 0)"
            return int(version), int(connection.execute(sql).fetchone()[0])

        version, delayed = await self._do(work)
        changed = version != self._data_version or bool(delayed)
        self._data_version = version
        return changed

    async def _do(self, run: Callable[[sqlite3.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._add(_Work(run, future))
        try:
            return await future
        except sqlite3.Error as error:
            raise QueueError(f"{self._path}: {error}") from error

    def _add(self, work: _Work) -> None:
        with self._wake:
            if self._closing:
                raise QueueError(f"{self._path} is closed")
            self._work.append(work)
            self._wake.notify()

    def _run(self) -> None:
        """The thread."""
        connection = None
        while group := self._take():
            try:
                if connection is None:
                    connection = self._connect()
                results = self._commit(connection, group)
                self.healthy = True
            except Exception as error:  # whatever it is, the callers must hear of it
                self.healthy = False
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
                results = [error] * len(group)
            _answer(group, results)
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA)
        return connection

    def _take(self) -> list[_Work]:
        with self._wake:
            while not self._work and not self._closing:
                self._wake.wait()
            return [self._work.popleft() for _ in range(min(len(self._work), _MOST_GROUPED))]

    def _commit(self, connection: sqlite3.Connection, group: list[_Work]) -> list[Any]:
        connection.execute("BEGIN IMMEDIATE")
        results = [work.run(connection) for work in group]
        failpoint_sync("queue.before_commit")
        connection.execute("COMMIT")
        failpoint_sync("queue.after_commit")
        return results

    async def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        if self._held is not None:
            self._held.close()
            os.close(self._lock_fd)


def _answer(group: list[_Work], results: list[Any]) -> None:
    waiting = [(w.future, r) for w, r in zip(group, results, strict=True) if w.future]
    if not waiting:
        return

    def set_all() -> None:
        for future, result in waiting:
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
        waiting[0][0].get_loop().call_soon_threadsafe(set_all)
