"""Segments that are open for reading, so that most reads are a single pread."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from libs.common.blobstore.protocol import BlobError, BlobMissing

_OPEN_FILES = 256


class OpenFiles:
    """At most 256 descriptors, the least recently used is closed.  Of the event loop only.

    One that another thread still reads from could be closed, and its number given to another
    file; threads use `read_once`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: OrderedDict[str, int] = OrderedDict()

    def read(self, segment: str, at: int, length: int) -> bytes:
        """Exactly these octets; `BlobMissing` when they are not there."""
        try:
            fd = self._open(segment)
            if not os.fstat(fd).st_nlink:
                # Deleted by another process; held open it would still fill the disk.
                self.forget(segment)
                raise FileNotFoundError
            data = os.pread(fd, length, at)
        except OSError as error:
            raise failure(segment, error) from error
        return _whole(segment, data, at, length)

    def read_once(self, segment: str, at: int, length: int) -> bytes:
        """The same for threads, with a descriptor of its own."""
        try:
            fd = os.open(path_of(self._root, segment), os.O_RDONLY)
            try:
                data = os.pread(fd, length, at)
            finally:
                os.close(fd)
        except OSError as error:
            raise failure(segment, error) from error
        return _whole(segment, data, at, length)

    def _open(self, segment: str) -> int:
        fd = self._files.get(segment)
        if fd is None:
            fd = self._files[segment] = os.open(path_of(self._root, segment), os.O_RDONLY)
            if len(self._files) > _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        else:
            self._files.move_to_end(segment)
        return fd

    def forget(self, segment: str) -> None:
        """Close it if it is open."""
        fd = self._files.pop(segment, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close all."""
        while self._files:
            os.close(self._files.popitem()[1])


def path_of(root: Path, segment: str) -> Path:
    """The path of a segment; a key can never lead out of the store."""
    if not segment.startswith("mail/") or ".." in segment.split("/") or "\0" in segment:
        raise BlobMissing(f"not a segment: {segment!r}")
    return root / segment


def failure(segment: str, error: OSError) -> BlobError:
    """What a reader hears of an error of the file system."""
    if isinstance(error, FileNotFoundError):
        return BlobMissing(f"no segment {segment}")
    return BlobError(f"cannot read {segment}: {error}")


def _whole(segment: str, data: bytes, at: int, length: int) -> bytes:
    if len(data) != length:
        raise BlobMissing(f"segment {segment} ends before {at + length}")
    return data
