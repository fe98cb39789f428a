"""After a crash: the torn tails of writers that are dead are cut off.

Nothing depends on it, for no reader serves a torn record and nobody appends to the segment of
another process.  It keeps the disk tidy, so it cuts only what is torn beyond doubt, and leaves
what may be a damaged record to a person.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from functools import partial
from pathlib import Path

from libs.common.blobstore import record
from libs.common.blobstore.segment_key import hour_prefix
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_HOURS = 3
_ZEROES = 1024 * 1024


def recover(root: Path, now: float) -> int:
    """Cut the torn tails in the segments of recent hours; how many there were."""
    cut = 0
    for back in range(_HOURS):
        for path in _segments(root / hour_prefix(now - 3600 * back)):
            try:
                cut += _recover(path)
            except OSError as error:
                log.warning("not recovered", segment=str(path), error=str(error))
    return cut


def _segments(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("not recovered", folder=str(folder), error=str(error))
        return []


def _recover(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        # The writer holds this lock as long as it lives and has the segment open.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _cut(fd, path)
        return False
    finally:
        os.close(fd)


def _cut(fd: int, path: Path) -> bool:
    size, end = os.fstat(fd).st_size, 0
    for found in record.scan(lambda at, length: os.pread(fd, length, at), size):
        end = found.end
    if end == size:
        return False
    if not torn(fd, end, size):
        log.error("segment is damaged", segment=str(path), offset=end)
        return False
    os.ftruncate(fd, end)
    os.fsync(fd)
    log.warning("torn tail cut off", segment=str(path), octets=size - end)
    return True


def torn(fd: int, end: int, size: int) -> bool:
    """A write that ended early: too short, announced but not there, or nothing but zeroes."""
    if size - end < record.PRELUDE or record.read_lengths(os.pread(fd, record.PRELUDE, end)):
        return True
    with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
        file.seek(end)
        return not any(any(block) for block in iter(partial(file.read, _ZEROES), b""))
