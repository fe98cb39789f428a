"""The file behind the embedded queue: one writing thread, one connection, grouped commits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from libs.common.queue.protocol import QueueError
from libs.common.runtime.failpoint import failpoint_sync
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
T = TypeVar("T")
Run = Callable[[sqlite3.Connection], T]

_MOST_GROUPED = 512
_PAUSE_SECONDS = 0.2
_CLI_PATIENCE_SECONDS = 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body BLOB NOT NULL,
    attempt INTEGER NOT NULL, not_before REAL NOT NULL, put_at REAL NOT NULL,
    suspect INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS ix_job_queue ON job (queue, id);
CREATE INDEX IF NOT EXISTS ix_job_later ON job (queue, not_before) WHERE not_before > 0;
"""


@dataclass(slots=True)
class _Work:
    run: Run[Any]
    future: asyncio.Future[Any] | None
    """None: nobody waits, and it is done again until it works."""


class QueueFile:
    """Runs work on the connection in its thread; what waits together is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.healthy = True
        self._work: deque[_Work] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._thread.start()

    async def write(self, run: Run[T]) -> T:
        """The result of `run`, committed and synced; `QueueError`: it was rolled back."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._add(_Work(run, future))
        try:
            return await future
        except sqlite3.Error as error:
            raise QueueError(f"{self.path}: {error}") from error

    def write_soon(self, run: Run[object]) -> None:
        """As `write`, for what nobody waits for: with the next group, again until it works."""
        self._add(_Work(run, None))

    async def read(self, run: Run[T]) -> T:
        """The result of `run` on a connection of its own, which holds up no writer."""

        def work() -> T:
            with self._reading:
                if self._reader is None:
                    self._reader = self._connect()
                return run(self._reader)

        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error as error:
            raise QueueError(f"{self.path}: {error}") from error

    def _add(self, work: _Work) -> None:
        with self._wake:
            if self._closing:
                raise QueueError(f"{self.path} is closed")
            self._work.append(work)
            self._wake.notify()

    def _run(self) -> None:
        """The thread."""
        connection = None
        while group := self._take():
            try:
                connection = connection or self._connect()
                results = self._commit(connection, group)
                self.healthy = True
            except Exception as error:  # whatever it is, the callers must hear of it
                _discard(connection)
                connection = None
                results = self._failed(group, error)
            _answer(group, results)
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_CLI_PATIENCE_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        _use_wal(connection)
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

    def _failed(self, group: list[_Work], error: Exception) -> list[Any]:
        self.healthy = False
        log.error("queue file cannot be written", path=str(self.path), error=str(error))
        with self._wake:
            if not self._closing:
                self._work.extendleft(work for work in reversed(group) if work.future is None)
        time.sleep(_PAUSE_SECONDS)
        return [error] * len(group)

    async def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Two processes that make a new file at once: one hears "locked" without any waiting."""
    deadline = time.monotonic() + _CLI_PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _discard(connection: sqlite3.Connection | None) -> None:
    """Closing rolls back."""
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _answer(group: list[_Work], results: list[Any]) -> None:
    """One wake-up of the event loop for all who wait."""
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
