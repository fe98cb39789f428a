"""Segments as files, with a group commit: puts that wait together share one fdatasync.

One thread writes: it takes all puts that wait, appends them to the process's own segment with
one write, syncs once, and then answers all of them.  A segment on which a write or a sync failed
is never written again (after a failed fsync the kernel may have dropped the dirty pages).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Counter, Histogram

from libs.common.blobstore import record
from libs.common.blobstore.protocol import (
    BlobError,
    BlobMissing,
    BlobRef,
    IndexEntry,
    Record,
    Spool,
)
from libs.common.runtime.failpoint import ENABLED, failpoint_sync, seeded_bug

SEGMENT_OCTETS = 64 * 1024 * 1024
"""A segment that has grown past this is closed and a new one begun."""
ALONE_OCTETS = 256 * 1024
"""Content over this size is a segment by itself."""
PUT_SECONDS = 8.0
MAX_PENDING = 64 * 1024 * 1024
"""Octets that may wait to be written; further puts wait for room."""
_GROUP = 512
_GROUP_OCTETS = 8 * 1024 * 1024
_OPEN_FILES = 256

_PUTS = Counter("holub_blobstore_puts_total", "Records put.", ["result"])
_GROUPS = Histogram(
    "holub_blobstore_group_size",
    "Records that shared one sync.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
_FSYNCS = Counter("holub_blobstore_fsyncs_total", "Calls of fsync and fdatasync.")
_SECONDS = Histogram("holub_blobstore_put_seconds", "From put to durable.")


@dataclass(slots=True)
class _Put:
    parts: list[bytes]
    size: int
    future: asyncio.Future[BlobRef]


class _Segment:
    """The file that this process appends to."""

    def __init__(self, root: Path, key: str) -> None:
        self.key = key
        self.path = root / key
        _make_folders(root, self.path.parent)
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
        self.fd = os.open(self.path, flags, 0o600)
        # Held while we live: recovery of other processes leaves our segment alone.
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        self.size = 0
        _sync_folder(self.path.parent)

    def append(self, parts: list[bytes]) -> None:
        """Write all of it or raise OSError."""
        data = b"".join(parts)
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]
        self.size += len(data)

    def sync(self) -> None:
        if not seeded_bug("skip_fsync"):
            os.fdatasync(self.fd)
            if ENABLED:
                # What a power cut would leave: the harness cuts the file to this length.
                Path(f"{self.path}.synced").write_text(str(self.size))
        _FSYNCS.inc()

    def close(self) -> None:
        os.close(self.fd)


def _make_folders(root: Path, folder: Path) -> None:
    """Create folders down to `folder`, each durable in the one above it."""
    if folder.is_dir():
        return
    if folder != root:
        _make_folders(root, folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=folder == root)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
        _FSYNCS.inc()
    finally:
        os.close(fd)


def _hour(now: float) -> str:
    return time.strftime("mail/%Y/%m/%d/%H", time.gmtime(now))


def _new_key(now: float) -> str:
    return f"{_hour(now)}/{int(now * 1000):013x}-{uuid.uuid4().hex[:16]}"


class FilesBlobStore:
    """A `BlobStore` below one folder; several processes may share it."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._pending: deque[_Put] = deque()
        self._pending_octets = 0
        self._room = asyncio.Event()
        self._room.set()
        self._wake = threading.Condition()
        self._closed = False
        self._segment: _Segment | None = None
        self._files: OrderedDict[str, int] = OrderedDict()
        self._thread: threading.Thread | None = None

    async def put(self, header: bytes, content: bytes | Spool, *, key: str) -> BlobRef:
        """Store one record; durable on return."""
        if self._closed:
            raise BlobError("the blob store is closed")
        start = time.perf_counter()
        try:
            async with asyncio.timeout(PUT_SECONDS):
                ref = await self._put(header, content)
        except (OSError, TimeoutError) as error:
            _PUTS.labels("failed").inc()
            raise BlobError(f"cannot store: {error or 'no answer in time'}") from error
        _PUTS.labels("stored").inc()
        _SECONDS.observe(time.perf_counter() - start)
        return ref

    async def _put(self, header: bytes, content: bytes | Spool) -> BlobRef:
        if not isinstance(content, bytes):
            return await self._put_spool(header, content)
        if len(content) > ALONE_OCTETS:
            return await asyncio.to_thread(self._put_alone, record.encode(header, content))
        parts = record.encode(header, content)
        size = sum(map(len, parts))
        while self._pending_octets + size > MAX_PENDING:
            self._room.clear()
            await self._room.wait()
        put = _Put(parts, size, asyncio.get_running_loop().create_future())
        self._pending_octets += size
        try:
            with self._wake:
                self._pending.append(put)
                self._wake.notify()
            self._start()
            # Shielded: a caller that gives up must not break the group of the others.
            return await asyncio.shield(put.future)
        finally:
            self._pending_octets -= size
            self._room.set()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blobstore", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        """The writing thread."""
        while group := self._take():
            failpoint_sync("blobstore.before_write")
            try:
                refs = self._write(group)
            except Exception as error:  # whatever it is, the callers must hear of it
                self._abandon()
                refs = [error] * len(group)
            _GROUPS.observe(len(group))
            loop = group[0].future.get_loop()
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(_answer, group, refs)

    def _take(self) -> list[_Put]:
        """All puts that wait, up to the bounds of a group; empty: the store is closed."""
        with self._wake:
            while not self._pending and not self._closed:
                self._wake.wait()
            group: list[_Put] = []
            octets = 0
            while self._pending and len(group) < _GROUP and octets < _GROUP_OCTETS:
                group.append(self._pending.popleft())
                octets += group[-1].size
            return group

    def _write(self, group: list[_Put]) -> list[BlobRef | Exception]:
        segment = self._current()
        refs: list[BlobRef | Exception] = []
        at = segment.size
        for put in group:
            refs.append(BlobRef(segment.key, at, put.size))
            at += put.size
        segment.append([part for put in group for part in put.parts])
        failpoint_sync("blobstore.before_fsync")
        segment.sync()
        failpoint_sync("blobstore.after_fsync")
        return refs

    def _current(self) -> _Segment:
        """The open segment; a new one when it is full or the hour has changed."""
        now = time.time()
        segment = self._segment
        if segment and (segment.size > SEGMENT_OCTETS or not segment.key.startswith(_hour(now))):
            self._abandon()
            segment = None
        if segment is None:
            segment = self._segment = _Segment(self._root, _new_key(now))
        return segment

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment:
            segment.close()

    def _put_alone(self, parts: list[bytes]) -> BlobRef:
        segment = _Segment(self._root, _new_key(time.time()))
        try:
            segment.append(parts)
            segment.sync()
            return BlobRef(segment.key, 0, segment.size)
        except OSError:
            segment.path.unlink(missing_ok=True)
            raise
        finally:
            segment.close()

    async def _put_spool(self, header: bytes, content: Spool) -> BlobRef:
        """Large content, block by block, with one block in memory at a time."""
        segment = await asyncio.to_thread(_Segment, self._root, _new_key(time.time()))
        head, sha256 = record.prelude(len(header), content.size), hashlib.sha256()
        try:
            await asyncio.to_thread(segment.append, [head])
            async for chunk in content.chunks():
                sha256.update(chunk)
                await asyncio.to_thread(segment.append, [chunk])
            tail = [header, record.trailer(head, header, sha256.digest())]
            await asyncio.to_thread(segment.append, tail)
            await asyncio.to_thread(segment.sync)
            return BlobRef(segment.key, 0, segment.size)
        except BaseException:
            segment.path.unlink(missing_ok=True)
            raise
        finally:
            segment.close()

    async def read(self, ref: BlobRef) -> Record:
        """One whole record, verified."""
        if ref.length <= ALONE_OCTETS:
            return record.decode(self._pread(ref, ref.offset, ref.length))
        return await asyncio.to_thread(
            lambda: record.decode(self._pread(ref, ref.offset, ref.length))
        )

    async def read_range(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Octets [start, stop) of the content."""
        at, length = ref.offset + record.PRELUDE + start, stop - start
        if length <= ALONE_OCTETS:
            return self._pread(ref, at, length)
        return await asyncio.to_thread(self._pread, ref, at, length)

    def _pread(self, ref: BlobRef, at: int, length: int) -> bytes:
        try:
            # Descriptors are kept only for the event loop's own reads: one that another thread
            # still reads from could be closed, and its number given to another file.
            if length > ALONE_OCTETS:
                data = _read_once(_safe(self._root, ref.segment), at, length)
            else:
                data = os.pread(self._open(ref.segment), length, at)
        except FileNotFoundError as error:
            raise BlobMissing(f"no segment {ref.segment}") from error
        except OSError as error:
            raise BlobError(f"cannot read {ref.segment}: {error}") from error
        if len(data) != length:
            raise BlobMissing(f"segment {ref.segment} ends before {at + length}")
        return data

    def _open(self, segment: str) -> int:
        """A descriptor for reading, kept for the next time."""
        fd = self._files.get(segment)
        if fd is None:
            fd = self._files[segment] = os.open(_safe(self._root, segment), os.O_RDONLY)
            if len(self._files) > _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
        else:
            self._files.move_to_end(segment)
        return fd

    async def index(self, hour: datetime) -> AsyncIterator[IndexEntry]:
        """The records of an hour; the torn tail of a crashed writer is left out."""
        folder = self._root / hour.astimezone(UTC).strftime("mail/%Y/%m/%d/%H")
        for path in await asyncio.to_thread(_segments, folder):
            key = str(path.relative_to(self._root))
            for entry in await asyncio.to_thread(_entries, path, key):
                yield entry

    async def hours(self) -> list[datetime]:
        """The hours that have a folder with segments."""
        return await asyncio.to_thread(self._hours)

    def _hours(self) -> list[datetime]:
        found = []
        for folder in self._root.glob("mail/[0-9]*/[0-9]*/[0-9]*/[0-9]*"):
            year, month, day, hour = (int(part) for part in folder.parts[-4:])
            found.append(datetime(year, month, day, hour, tzinfo=UTC))
        return sorted(found)

    async def delete(self, segment: str) -> None:
        """Remove a segment."""
        fd = self._files.pop(segment, None)
        if fd is not None:
            os.close(fd)
        await asyncio.to_thread(lambda: _safe(self._root, segment).unlink(missing_ok=True))

    async def close(self) -> None:
        """Write what waits, then stop the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread:
            await asyncio.to_thread(self._thread.join)
        self._abandon()
        while self._files:
            os.close(self._files.popitem()[1])


def _answer(group: list[_Put], refs: list[BlobRef | Exception]) -> None:
    for put, ref in zip(group, refs, strict=True):
        if put.future.done():
            continue
        if isinstance(ref, Exception):
            put.future.set_exception(ref)
        else:
            put.future.set_result(ref)


def _read_once(path: Path, at: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, length, at)
    finally:
        os.close(fd)


def _entries(path: Path, key: str) -> list[IndexEntry]:
    return list(_scan(path, key))


def _safe(root: Path, segment: str) -> Path:
    """The path of a segment; a key can never lead out of the store."""
    if not segment.startswith("mail/") or ".." in segment.split("/"):
        raise BlobMissing(f"not a segment: {segment!r}")
    return root / segment


def _segments(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".synced")


def _scan(path: Path, key: str) -> Iterator[IndexEntry]:
    """Walk the preludes; stop at the first that is torn or reaches past the end."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        size, at = os.fstat(fd).st_size, 0
        while lengths := record.read_lengths(os.pread(fd, record.PRELUDE, at)):
            if at + lengths.record > size:
                return
            header_at = at + record.PRELUDE + lengths.content
            raw = os.pread(fd, lengths.header + record.TRAILER, header_at)
            head = os.pread(fd, record.PRELUDE, at)
            header, tail = raw[: lengths.header], raw[lengths.header :]
            if record.trailer(head, header, tail[:32]) != tail:
                return
            yield IndexEntry(BlobRef(key, at, lengths.record), header, lengths.content)
            at += lengths.record
    finally:
        os.close(fd)
