"""Content while it streams in: in memory as long as it is small, then in a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from typing import IO

IN_MEMORY = 256 * 1024
"""Octets up to which content stays in memory."""
_BLOCK = 1024 * 1024


class SpoolFile:
    """Takes blocks, counts them, and gives the content back, as bytes or as a `Spool`.

    The file has no name, so a crash leaves nothing behind.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._blocks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._sha256 = hashlib.sha256()
        self.size = 0

    async def write(self, block: bytes) -> None:
        """Take the next octets; `OSError` when the disk is full."""
        self.size += len(block)
        if self._file is None:
            self._blocks.append(block)
            if self.size > IN_MEMORY:
                await asyncio.to_thread(self._spill)
            return
        await asyncio.to_thread(self._append, block)

    def _spill(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
        for block in self._blocks:
            self._append(block)
        self._blocks.clear()

    def _append(self, block: bytes) -> None:
        assert self._file is not None
        self._sha256.update(block)
        self._file.write(block)

    @property
    def sha256(self) -> bytes:
        """Of a finished spool that is on disk."""
        return self._sha256.digest()

    async def finish(self) -> bytes | SpoolFile:
        """The content: bytes when it stayed in memory, else this object as a `Spool`."""
        if self._file is None:
            return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        await asyncio.to_thread(self._file.flush)
        return self

    def pread(self, start: int, length: int) -> bytes:
        """Octets from `start`; blocks, so call it in a thread."""
        assert self._file is not None
        return os.pread(self._file.fileno(), length, start)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content from its start, in blocks of 1 MiB."""
        for start in range(0, self.size, _BLOCK):
            yield await asyncio.to_thread(self.pread, start, _BLOCK)

    def close(self) -> None:
        """Give memory and disk back."""
        self._blocks.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
