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
"""Octets up to which content stays in memory."""
_BLOCK = 1024 * 1024


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
        self.size = 0

    async def write(self, block: bytes) -> None:
        """Take the next octets; `OSError` when the disk is full."""
        self.size += len(block)
        self._blocks.append(block)
        self._buffered += len(block)
        if self._buffered > (IN_MEMORY if self._file is None else _BLOCK):
            await self._flush()

    async def _flush(self) -> None:
        blocks, self._blocks, self._buffered = self._blocks, [], 0
        await asyncio.to_thread(self._append, blocks)

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
            return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
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
        self._blocks.clear()
        with self._lock:
            self._closed = True
            self._let_go()


def write_all(fd: int, data: bytes) -> None:
    """Write every octet, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
