"""Segments on disk: a file that one process appends to, and folders that outlive a power cut."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from libs.common.blobstore import record
from libs.common.blobstore.metrics import FSYNCS
from libs.common.blobstore.segment_key import new_key
from libs.common.blobstore.spool import SpoolFile, write_all
from libs.common.runtime.failpoint import failpoint_sync, seeded_bug

_TRIES = 5
_COPY = 1024 * 1024
_COPY_LESS = 256 * 1024
"""Octets from which a few more writes cost less than one more copy."""
_KNOWN_FOLDERS = 64


class SegmentFile:
    """A new file that this process alone appends to, as long as it is open."""

    def __init__(self, folders: Folders) -> None:
        self.key, self._path, self._fd = folders.create(time.time())
        self.size = 0
        self._durable = 0

    def append(self, parts: Sequence[bytes]) -> None:
        """Write all of it or raise `OSError`."""
        size = sum(map(len, parts))
        for data in parts if size > _COPY_LESS else [b"".join(parts)]:
            write_all(self._fd, data)
        self.size += size

    def copy(self, spool: SpoolFile) -> None:
        """Append a whole spool without a detour through our memory."""
        with spool.descriptor() as source:
            at = 0
            while at < spool.size:
                count = _copy(source, self._fd, min(_COPY, spool.size - at), at)
                if not count:
                    raise OSError(f"the spool ends at {at} instead of {spool.size}")
                at += count
        self.size += spool.size

    def sync(self) -> None:
        """Make durable what was appended."""
        failpoint_sync("blobstore.before_fsync")
        if not seeded_bug("skip_fsync"):
            os.fdatasync(self._fd)
        FSYNCS.inc()
        failpoint_sync("blobstore.after_fsync")
        self._durable = self.size

    def close(self) -> None:
        """Done: other processes may look after the file."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def abandon(self) -> None:
        """Close after a failure: what no caller was told of is taken away again if that works.

        Never write to it again: after a failed fsync the kernel may have dropped pages and say
        at the next call that all is well.
        """
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self._durable)
            os.fdatasync(self._fd)
        if self._durable:
            self.close()
        else:
            self.remove()

    def remove(self) -> None:
        """Close and delete: no caller was told of anything in it."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.close()


def _copy(source: int, target: int, count: int, at: int) -> int:
    try:
        return os.copy_file_range(source, target, count, offset_src=at)
    except OSError:
        # Not between these file systems, or not at all: by hand.
        block = os.pread(source, count, at)
        write_all(target, block)
        return len(block)


class Folders:
    """Makes segments below one folder; each name is durable before the segment is used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[Path] = set()
        self._lock = threading.Lock()

    def create(self, now: float) -> tuple[str, Path, int]:
        """Key, path and descriptor of a new file, locked while it is open."""
        for _ in range(_TRIES):
            key = new_key(now)
            path = self._root / key
            self._ensure(path.parent)
            try:
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            except FileNotFoundError:
                # The folder was empty, so whoever deleted the last segment took it too.
                with self._lock:
                    self._durable.clear()
                continue
            try:
                # Held while the file is open: recovery leaves the segments of the living alone.
                fcntl.flock(fd, fcntl.LOCK_EX)
                sync_folder(path.parent)
            except BaseException:
                os.close(fd)
                path.unlink(missing_ok=True)
                raise
            return key, path, fd
        raise OSError(f"the folder of {key} vanishes again and again")

    def adopt(self, source: Path, path: Path) -> None:
        """Copy a finished segment to its path."""
        if not path.parent.is_dir():
            # Its last segment was deleted since, and the folder with it.
            with self._lock:
                self._durable.discard(path.parent)
        self._ensure(path.parent)
        # Beside the segments of the hour it would be listed as one of them.
        part = self._root / f".adopt-{path.name}"
        try:
            with source.open("rb") as given, part.open("wb") as kept:
                os.fchmod(kept.fileno(), 0o600)
                shutil.copyfileobj(given, kept, _COPY)
                kept.flush()
                os.fdatasync(kept.fileno())
            part.rename(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)

    def _ensure(self, folder: Path) -> None:
        """Make the folder and those above it, durably.

        That a folder exists does not make it durable: another process may have made it just now.
        """
        with self._lock:
            if folder in self._durable:
                return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # above the root all is the operator's
            sync_folder(self._root.parent)
        below = self._root
        for name in folder.relative_to(self._root).parts:
            above, below = below, below / name
            with contextlib.suppress(FileExistsError):
                below.mkdir(mode=0o700)
            sync_folder(above)
        with self._lock:
            if len(self._durable) >= _KNOWN_FOLDERS:
                self._durable.clear()
            self._durable.add(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
        FSYNCS.inc()
    finally:
        os.close(fd)


def record_of_spool(segment: SegmentFile, header: bytes, spool: SpoolFile) -> None:
    """Append the record of a finished spool."""
    head = record.prelude(len(header), spool.size)
    segment.append([head])
    segment.copy(spool)
    segment.append([header, record.trailer(head, header, spool.sha256)])
