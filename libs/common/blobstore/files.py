"""Segments as files below one folder; small records through a group commit.

Content over 256 KiB is a segment by itself, written by a few threads that the group commit does
not wait for.  A segment on which a write or a sync failed is never written again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from libs.common.blobstore import record
from libs.common.blobstore.group_commit import GroupCommit
from libs.common.blobstore.metrics import DAMAGED, FAILED, SECONDS, STORED
from libs.common.blobstore.open_files import OpenFiles, failure, path_of
from libs.common.blobstore.protocol import (
    BlobCorrupt,
    BlobError,
    BlobMissing,
    BlobRef,
    IndexEntry,
    Record,
    Segment,
    Spool,
)
from libs.common.blobstore.recovery import recover, torn
from libs.common.blobstore.segment_file import Folders, SegmentFile, record_of_spool
from libs.common.blobstore.segment_key import (
    ALONE_OCTETS,
    PUT_SECONDS,
    parse_hour,
    prefix_of,
)
from libs.common.blobstore.spool import SpoolFile
from libs.common.runtime.failpoint import failpoint_sync
from libs.common.runtime.log import get_logger
from libs.common.runtime.patience import Patience

log = get_logger(__name__)
_LARGE_AT_ONCE = 4
_BLOCK = 4 * 1024 * 1024


class FilesBlobStore:
    """A `BlobStore` below one folder; several processes may share it."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._folders = Folders(self._root)
        self._group = GroupCommit(self._folders)
        self._patience = Patience(PUT_SECONDS)
        self._files = OpenFiles(self._root)
        self._large = ThreadPoolExecutor(_LARGE_AT_ONCE, "blobstore-large")
        self._recovery: threading.Thread | None = None
        self._closed = False

    async def put(self, header: bytes, content: bytes | Spool, *, key: str) -> BlobRef:
        """Store one record; durable on return."""
        if self._closed:
            raise BlobError("the blob store is closed")
        self._recover_once()
        start = time.perf_counter()
        try:
            ref = await self._patience.within(self._put(header, content))
        except (OSError, TimeoutError) as error:
            FAILED.inc()
            raise BlobError(f"cannot store: {error or 'no answer in time'}") from error
        except BlobError:
            FAILED.inc()
            raise
        STORED.inc()
        SECONDS.observe(time.perf_counter() - start)
        return ref

    def _recover_once(self) -> None:
        """Only a process that writes tidies up, and no put waits for it."""
        if self._recovery is None:
            self._recovery = threading.Thread(
                target=recover, args=(self._root, time.time()), name="recovery", daemon=True
            )
            self._recovery.start()

    async def _put(self, header: bytes, content: bytes | Spool) -> BlobRef:
        if isinstance(content, bytes):
            if len(content) <= ALONE_OCTETS:
                return await self._group.put(record.encode(header, content))
            return await self._alone(lambda s: s.append(record.encode(header, content)))
        if isinstance(content, SpoolFile):
            return await self._alone(lambda s: record_of_spool(s, header, content))
        return await self._stream(header, content)

    async def _alone(self, write: Callable[[SegmentFile], None]) -> BlobRef:
        """Large content as a segment of its own, in one of a few threads."""
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._large, self._write, write, abandoned)
        except asyncio.CancelledError:
            abandoned.set()
            raise

    def _write(self, write: Callable[[SegmentFile], None], abandoned: threading.Event) -> BlobRef:
        segment = None
        try:
            failpoint_sync("blobstore.before_write")
            segment = SegmentFile(self._folders)
            write(segment)
            segment.sync()
            if abandoned.is_set():
                raise TimeoutError("nobody waits for it any more")
        except Exception as error:
            # Whatever it is (a spool that was closed, a fault of ours), it is not stored.
            if segment:
                segment.remove()
            raise BlobError(f"cannot store: {error}") from error
        segment.close()
        return BlobRef(segment.key, 0, segment.size)

    async def _stream(self, header: bytes, content: Spool) -> BlobRef:
        """Any other spool, block by block, with one block in memory at a time."""
        spool = SpoolFile(str(self._root) if self._root.is_dir() else None)
        try:
            async for chunk in content.chunks():
                await spool.write(chunk)
            finished = await spool.finish()
            if isinstance(finished, bytes):
                return await self._put(header, finished)
            return await self._alone(lambda s: record_of_spool(s, header, spool))
        finally:
            spool.close()

    async def read(self, ref: BlobRef) -> Record:
        """One whole record, verified."""
        if ref.length <= ALONE_OCTETS:
            return record.decode(self._files.read(ref.segment, ref.offset, ref.length))
        return await asyncio.to_thread(
            lambda: record.decode(self._files.read_once(ref.segment, ref.offset, ref.length))
        )

    async def read_range(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Octets [start, stop) of the content."""
        at, length = ref.offset + record.PRELUDE + start, stop - start
        if length <= 0:
            return b""
        if length <= ALONE_OCTETS:
            return self._files.read(ref.segment, at, length)
        return await asyncio.to_thread(self._files.read_once, ref.segment, at, length)

    async def index(self, hour: datetime) -> AsyncIterator[IndexEntry]:
        """The records of an hour; the torn tail of a crashed writer is left out."""
        for path in await asyncio.to_thread(_segments, self._root / prefix_of(hour)):
            key = str(path.relative_to(self._root))
            for entry in await asyncio.to_thread(_entries, path, key):
                yield entry

    async def hours(self) -> list[datetime]:
        """The hours that have a folder with segments."""
        return await asyncio.to_thread(self._hours)

    def _hours(self) -> list[datetime]:
        try:
            folders = sorted(self._root.glob("mail/*/*/*/*"))
        except OSError as error:
            raise failure("mail", error) from error
        found = (parse_hour(str(folder.relative_to(self._root))) for folder in folders)
        return [hour for hour in found if hour]

    async def segments(self, hour: datetime) -> list[Segment]:
        """The files of an hour."""
        return await asyncio.to_thread(self._listed, prefix_of(hour))

    def _listed(self, prefix: str) -> list[Segment]:
        listed = []
        for path in _segments(self._root / prefix):
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                listed.append(Segment(f"{prefix}/{path.name}", path.stat().st_size))
        return listed

    async def records(self, segment: str) -> list[IndexEntry]:
        """Every record of a file; a torn tail is none."""
        return await asyncio.to_thread(_all_entries, path_of(self._root, segment), segment)

    async def blocks(self, segment: Segment) -> AsyncIterator[bytes]:
        """The octets that the file had when it was listed."""
        for at in range(0, segment.octets, _BLOCK):
            length = min(_BLOCK, segment.octets - at)
            yield await asyncio.to_thread(self._files.read_once, segment.key, at, length)

    async def adopt(self, segment: str, records: Path) -> None:
        """Copy the file to its place; the name comes last, so it is whole or not there."""
        path = path_of(self._root, segment)
        try:
            await asyncio.to_thread(self._folders.adopt, records, path)
        except OSError as error:
            raise BlobError(f"cannot store {segment}: {error}") from error

    async def delete(self, segment: str) -> None:
        """Remove a segment, and its folder when it was the last one."""
        self._files.forget(segment)
        await asyncio.to_thread(self._delete, path_of(self._root, segment))

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BlobError(f"cannot delete {path}: {error}") from error
        with contextlib.suppress(OSError):  # others are in it
            path.parent.rmdir()

    async def close(self) -> None:
        """Write what waits, then stop the threads."""
        self._closed = True
        await self._group.close()
        await asyncio.to_thread(self._large.shutdown)
        self._files.close()


def _segments(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failure(str(folder), error) from error


def _entries(path: Path, key: str) -> list[IndexEntry]:
    """The records of one segment that can be read."""
    try:
        found, _ = _scan(path, key)
    except BlobMissing:
        return []  # deleted since it was listed
    entries = []
    for item in found:
        if item.header is None:
            DAMAGED.inc()
            log.error("record is damaged", segment=key, offset=item.offset)
            continue
        entries.append(_entry(key, item, item.header))
    return entries


def _all_entries(path: Path, key: str) -> list[IndexEntry]:
    """The same of a segment without damage; `BlobCorrupt` says what is wrong with any other."""
    found, whole = _scan(path, key)
    entries = [_entry(key, item, item.header) for item in found if item.header is not None]
    if not whole or len(entries) < len(found):
        raise BlobCorrupt(f"segment {key} is damaged")
    return entries


def _entry(key: str, item: record.Found, header: bytes) -> IndexEntry:
    ref = BlobRef(key, item.offset, item.lengths.record)
    return IndexEntry(ref, header, item.lengths.content)


def _scan(path: Path, key: str) -> tuple[list[record.Found], bool]:
    """Walk the preludes of one segment: its records, and whether there is nothing else in it."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise failure(key, error) from error
    try:
        size = os.fstat(fd).st_size
        found = list(record.scan(lambda at, length: os.pread(fd, length, at), size))
        end = found[-1].end if found else 0
        return found, end == size or torn(fd, end, size)
    except OSError as error:
        raise failure(key, error) from error
    finally:
        os.close(fd)
