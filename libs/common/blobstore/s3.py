"""Segments as objects of an S3: what waits together is one PUT.

A segment object is records, then an index of them (`s3_index.py`), so that the sweeper reads
one range at the end of each object instead of all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from libs.common.blobstore import record
from libs.common.blobstore.metrics import DAMAGED, FAILED, GROUP_SIZE, SECONDS, STORED
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
from libs.common.blobstore.s3_index import Listed, decode_index, encode_index, index_length
from libs.common.blobstore.s3_object import BlobEnds, Bucket, open_bucket
from libs.common.blobstore.s3_segment import put_records, read_records
from libs.common.blobstore.segment_key import (
    ALONE_OCTETS,
    GROUP_OCTETS,
    GROUP_RECORDS,
    MAX_PENDING,
    PUT_SECONDS,
    new_key,
    parse_hour,
    prefix_of,
)
from libs.common.blobstore.spool import SpoolFile
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
_IN_FLIGHT = 4
_LARGE_AT_ONCE = 4
_ASK_AT_ONCE = 16
_TAIL = 64 * 1024
# A record that still waits after this is not sent any more, so that a put that is sent
# can always be looked up before its eight seconds are over.
_WAIT_SECONDS = 2.0
_USED_SECONDS = PUT_SECONDS - 0.5
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Put:
    header: bytes
    parts: list[bytes]
    size: int
    content_size: int
    future: asyncio.Future[BlobRef]
    deadline: float
    taken: asyncio.Event


def open_s3(url: str) -> S3BlobStore:
    """`s3://KEY:SECRET@HOST:PORT/BUCKET?region=R&http=1`; without host it is Amazon's."""
    return S3BlobStore(open_bucket(url))


class S3BlobStore:
    """A `BlobStore` in one bucket; several processes may share it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._waiting: deque[_Put] = deque()
        self._octets = 0
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._asking = asyncio.Semaphore(_ASK_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._closed = False

    async def put(self, header: bytes, content: bytes | Spool, *, key: str) -> BlobRef:
        """Store one record; durable on return."""
        if self._closed:
            raise BlobError("the blob store is closed")
        start = time.monotonic()
        try:
            async with asyncio.timeout(PUT_SECONDS):
                ref = await self._put(header, content, start + _USED_SECONDS)
        except (OSError, TimeoutError) as error:
            FAILED.inc()
            raise BlobError(f"cannot store: {error or 'no answer in time'}") from error
        except BlobError:
            FAILED.inc()
            raise
        STORED.inc()
        SECONDS.observe(time.monotonic() - start)
        return ref

    async def _put(self, header: bytes, content: bytes | Spool, deadline: float) -> BlobRef:
        if not isinstance(content, bytes):
            async with _slot(self._large):
                return await self._stream(header, content, deadline - time.monotonic())
        future: asyncio.Future[BlobRef] = asyncio.get_running_loop().create_future()
        if len(content) > ALONE_OCTETS:
            parts = await asyncio.to_thread(record.encode, header, content)
            put = _of(header, parts, len(content), future, deadline)
            async with _slot(self._large):
                await self._send([put])
            return future.result()
        put = _of(header, record.encode(header, content), len(content), future, deadline)
        return await self._grouped(put)

    async def _grouped(self, put: _Put) -> BlobRef:
        if self._octets + put.size > MAX_PENDING:
            raise BlobError("too much waits for S3")
        self._octets += put.size
        self._waiting.append(put)
        if not self._flushing:
            self._flushing = True
            self._spawn(self._flush())
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await put.taken.wait()
            return await put.future
        finally:
            self._octets -= put.size
            if not put.taken.is_set():
                self._waiting.remove(put)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        """Start an object whenever a slot is free; what comes in meanwhile is the next one."""
        try:
            while self._waiting:
                await self._slots.acquire()
                # Let all that was woken together put its record first.
                await asyncio.sleep(0)
                self._spawn(self._send_and_release(self._take()))
        finally:
            self._flushing = False

    def _take(self) -> list[_Put]:
        group: list[_Put] = []
        octets = 0
        while self._waiting and len(group) < GROUP_RECORDS and octets < GROUP_OCTETS:
            put = self._waiting.popleft()
            put.taken.set()
            group.append(put)
            octets += put.size
        return group

    async def _send_and_release(self, group: list[_Put]) -> None:
        try:
            if group:
                await self._send(group)
        except Exception as error:  # whatever it is, the callers must hear of it
            for put in group:
                if not put.future.done():
                    put.future.set_exception(BlobError(f"cannot store: {error}"))
        finally:
            self._slots.release()

    async def _send(self, group: Sequence[_Put]) -> None:
        """One object; the futures of its records are resolved when it is durable."""
        key, at, refs, listed = new_key(time.time()), 0, [], []
        for put in group:
            refs.append(BlobRef(key, at, put.size))
            listed.append(Listed(at, put.size, put.content_size, put.header))
            at += put.size
        data = b"".join([*(part for put in group for part in put.parts), encode_index(listed)])
        await failpoint("blobstore.before_put")
        first = min(put.deadline for put in group)
        await self._bucket.create(key, data, first - time.monotonic())
        GROUP_SIZE.observe(len(group))
        for put, ref in zip(group, refs, strict=True):
            if not put.future.done():
                put.future.set_result(ref)

    async def _stream(self, header: bytes, content: Spool, seconds: float) -> BlobRef:
        """Large content, streamed in parts, so that memory stays flat."""
        key = new_key(time.time())
        length = record.PRELUDE + content.size + len(header) + record.TRAILER
        index = encode_index([Listed(0, length, content.size, header)])
        await failpoint("blobstore.before_put")
        blocks = _blocks(header, content, index)
        await self._bucket.stream(key, blocks, length + len(index), seconds)
        return BlobRef(key, 0, length)

    async def read(self, ref: BlobRef) -> Record:
        """One whole record, verified."""
        try:
            return await self._read(ref)
        except BlobCorrupt:
            # Perhaps it was damaged on its way here: ask once more before it is believed.
            return await self._read(ref)

    async def _read(self, ref: BlobRef) -> Record:
        raw = await self._bucket.read(ref.segment, ref.offset, ref.length)
        if ref.length <= ALONE_OCTETS:
            return record.decode(raw)
        return await asyncio.to_thread(record.decode, raw)

    async def read_range(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Octets [start, stop) of the content."""
        if stop <= start:
            return b""
        return await self._bucket.read(
            ref.segment, ref.offset + record.PRELUDE + start, stop - start
        )

    async def index(self, hour: datetime) -> AsyncIterator[IndexEntry]:
        """The records of an hour, from the index at the end of each object."""
        batch: list[tuple[str, int]] = []
        async for found in self._bucket.list(f"{prefix_of(hour)}/"):
            batch.append(found)
            if len(batch) == _ASK_AT_ONCE:
                for entry in await self._entries(batch):
                    yield entry
                batch = []
        for entry in await self._entries(batch):
            yield entry

    async def _entries(self, batch: Sequence[tuple[str, int]]) -> list[IndexEntry]:
        listed = await _together([self._read_index(key, size) for key, size in batch])
        return [
            entry
            for (key, _), items in zip(batch, listed, strict=True)
            for entry in _index_entries(key, items)
        ]

    async def _read_index(self, key: str, size: int) -> list[Listed]:
        try:
            return (await self._index_of(key, size))[0]
        except BlobEnds:
            raise  # it was as long as that when it was listed: this is a fault on the way
        except BlobMissing:
            return []  # deleted since it was listed
        except BlobCorrupt as error:
            # One damaged object must not hide all the others of its hour from the sweeper.
            DAMAGED.inc()
            log.error("segment is damaged", segment=key, error=str(error))
            return []

    async def _index_of(self, key: str, size: int) -> tuple[list[Listed], int]:
        """What the index at the end of an object lists, and where the index begins."""
        start = max(0, size - _TAIL)
        tail = await self._bucket.read(key, start, size - start) if size else b""
        length = index_length(tail)
        if length > size:
            raise BlobCorrupt("the index is longer than the object")
        if length > len(tail):
            tail = await self._bucket.read(key, size - length, length)
        return decode_index(tail[-length:]), size - length

    async def segments(self, hour: datetime) -> list[Segment]:
        """The objects of an hour."""
        found = self._bucket.list(f"{prefix_of(hour)}/")
        return [Segment(key, size) async for key, size in found]

    async def records(self, segment: str) -> list[IndexEntry]:
        """Every record of an object, whose index must name all of it."""
        listed, end = await self._index_of(segment, await self._bucket.size(segment))
        if sum(item.length for item in listed) != end:
            raise BlobCorrupt(f"the index of {segment} does not name all of it")
        return _index_entries(segment, listed)

    async def hours(self) -> list[datetime]:
        """The hours that hold objects, by walking the prefixes."""
        prefixes: list[str] = ["mail/"]
        for _ in range(4):
            below = await _together([self._below(prefix) for prefix in prefixes])
            prefixes = [prefix for found in below for prefix in found]
        return sorted(hour for prefix in prefixes if (hour := parse_hour(prefix)))

    async def _below(self, prefix: str) -> Sequence[str]:
        async with self._asking:
            return await self._bucket.below(prefix)

    async def blocks(self, segment: Segment) -> AsyncIterator[bytes]:
        """The object without the index at its end."""
        async for block in read_records(self._bucket, segment):
            yield block

    async def adopt(self, segment: str, records: Path) -> None:
        """Put the file as an object, with an index made anew."""
        await put_records(self._bucket, segment, records)

    async def delete(self, segment: str) -> None:
        """Remove an object; removing what is not there is success."""
        await self._bucket.delete(segment)

    async def close(self) -> None:
        """Finish what is under way."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)


def _of(
    header: bytes,
    parts: list[bytes],
    content_size: int,
    future: asyncio.Future[BlobRef],
    deadline: float,
) -> _Put:
    size = sum(map(len, parts))
    return _Put(header, parts, size, content_size, future, deadline, asyncio.Event())


def _index_entries(key: str, listed: Sequence[Listed]) -> list[IndexEntry]:
    return [
        IndexEntry(BlobRef(key, item.offset, item.length), item.header, item.size)
        for item in listed
    ]


@contextlib.asynccontextmanager
async def _slot(slots: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of a few; `TimeoutError` when none is free soon enough."""
    async with asyncio.timeout(_WAIT_SECONDS):
        await slots.acquire()
    try:
        yield
    finally:
        slots.release()


async def _blocks(header: bytes, content: Spool, index: bytes) -> AsyncIterator[bytes]:
    head, sha256 = record.prelude(len(header), content.size), hashlib.sha256()
    known = content.sha256 if isinstance(content, SpoolFile) else b""
    yield head
    async for chunk in content.chunks():
        if not known:
            sha256.update(chunk)
        yield chunk
    yield header + record.trailer(head, header, known or sha256.digest()) + index


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(item) for item in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
