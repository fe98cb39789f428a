"""Content while it streams in: in memory as long as it is small, then in a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import IO

IN_MEMORY = 256 * 1024
"""Octets up to which content always stays in memory."""
LARGE_IN_MEMORY = 1024 * 1024
"""Octets up to which it may stay, while few others are as large."""
LENDABLE = 64 * LARGE_IN_MEMORY
"""Octets that such content may have in one process, all together."""
_BLOCK = 1024 * 1024


_lent = 0


class SpoolFile:
    """Takes blocks, counts them, and gives the content back, as bytes or as a `Spool`.

    The file has no name, so a crash leaves nothing behind.  `close` may come at any time, also
    while a thread still works on the file: the file then goes when the thread lets go of it.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._blocks: list[bytes] = []
        self._buffered = 0
        self._file: IO[bytes] | None = None
        self._sha256 = hashlib.sha256()
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False
        self._borrowed = False
        self.size = 0

    async def write(self, block: bytes) -> None:
        """Take the next octets; `OSError` when the disk is full."""
        self.size += len(block)
        self._blocks.append(block)
        self._buffered += len(block)
        if self._buffered > IN_MEMORY and self._buffered > self._room():
            await self._flush()

    def _room(self) -> int:
        """Octets that may wait in memory."""
        global _lent
        if self._file is not None:
            return _BLOCK
        if not self._borrowed and _lent < LENDABLE:
            self._borrowed = True
            _lent += LARGE_IN_MEMORY
        return LARGE_IN_MEMORY if self._borrowed else IN_MEMORY

    def _give_back(self) -> None:
        global _lent
        if self._borrowed:
            self._borrowed = False
            _lent -= LARGE_IN_MEMORY

    async def _flush(self) -> None:
        blocks, self._blocks, self._buffered = self._blocks, [], 0
        await asyncio.to_thread(self._append, blocks)
        self._give_back()

    def _append(self, blocks: list[bytes]) -> None:
        if self._file is None:
            # Unbuffered, so that no octet is left behind in the object.
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            with self._lock:
                self._file = file
        with self.descriptor() as fd:
            for block in blocks:
                self._sha256.update(block)
                write_all(fd, block)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """The open file, which stays open until the block ends; `ValueError` after `close`."""
        with self._lock:
            if self._closed or self._file is None:
                self._let_go()
                raise ValueError("the spool is closed")
            self._users += 1
            file = self._file
        try:
            yield file.fileno()
        finally:
            with self._lock:
                self._users -= 1
                self._let_go()

    def _let_go(self) -> None:
        if self._closed and not self._users and self._file is not None:
            self._file.close()

    @property
    def sha256(self) -> bytes:
        """Of a finished spool that is on disk."""
        return self._sha256.digest()

    async def finish(self) -> bytes | SpoolFile:
        """The content: bytes when it stayed in memory, else this object as a `Spool`."""
        if self._file is None:
            if len(self._blocks) != 1:
                self._blocks = [b"".join(self._blocks)]
            return self._blocks[0]
        await self._flush()
        return self

    def pread(self, start: int, length: int) -> bytes:
        """Octets from `start`; blocks, so call it in a thread."""
        with self.descriptor() as fd:
            return os.pread(fd, length, start)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content from its start, in blocks of 1 MiB."""
        for start in range(0, self.size, _BLOCK):
            yield await asyncio.to_thread(self.pread, start, _BLOCK)

    def close(self) -> None:
        """Give memory and disk back."""
        self._blocks = []
        self._give_back()
        with self._lock:
            self._closed = True
            self._let_go()


def write_all(fd: int, data: bytes) -> None:
    """Write every octet, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
