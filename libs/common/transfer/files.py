"""Reading files that others own: below what an operator names no link is followed.

Whoever owns the files decides what is in them; a link could have the operator, who may read more,
hand over what is somebody else's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from libs.common.blobstore.spool import SpoolFile

BLOCK = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
# Without O_NONBLOCK a FIFO would wait for its writer for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def folder_below(root: Path, path: Path) -> Iterator[int]:
    """The descriptor of a folder, `root` or below it; `OSError` when a link is on the way.

    Each step starts at the folder before it, so a link that is put there meanwhile leads nowhere.
    """
    at = os.open(root, _FOLDER)
    try:
        for part in path.relative_to(root).parts:
            above, at = at, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(above)
        yield at
    finally:
        os.close(at)


def file_below(root: Path, path: Path) -> FileIO:
    """Open a regular file in or below `root`; `OSError` for anything else, and for any link."""
    with folder_below(root, path.parent) as folder:
        try:
            descriptor = os.open(path.name, _FILE, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "is a link, which is not followed", path) from error
            raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", path)
    return FileIO(descriptor)


async def blocks(file: FileIO) -> AsyncIterator[bytes]:
    """A file's octets; in memory is one block."""
    while block := await asyncio.to_thread(file.read, BLOCK):
        yield block


async def content_of(spool: SpoolFile) -> bytes | SpoolFile:
    """What a spool took; it stays open only when that is in its file."""
    content = await spool.finish()
    if isinstance(content, bytes):
        spool.close()
    return content
