"""Segments as objects of an S3: what waits together is one PUT.

A segment object is records, then an index of them (JSON), then its length and a magic word, so
that the sweeper reads one range at the end of each object instead of all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store
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
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
PUT_SECONDS = 8.0
READ_SECONDS = 20.0
ALONE_OCTETS = 256 * 1024
_IN_FLIGHT = 4
_GROUP = 512
_GROUP_OCTETS = 8 * 1024 * 1024
_FOOTER = struct.Struct("<I4s")
_MAGIC = b"HIDX"
_TAIL = 64 * 1024
_TRIES = 3

_PUTS = Counter("holub_blobstore_s3_puts_total", "Records put.", ["result"])
_GROUPS = Histogram(
    "holub_blobstore_s3_group_size", "Records in one object.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)


class _Listed(msgspec.Struct, frozen=True, array_like=True):
    """A record in an object's index."""

    offset: int
    length: int
    size: int
    header: bytes


@dataclass(slots=True)
class _Put:
    header: bytes
    parts: list[bytes]
    size: int
    content_size: int
    future: asyncio.Future[BlobRef]


def open_s3(url: str) -> S3BlobStore:
    """`s3://KEY:SECRET@HOST:PORT/BUCKET?region=R&http=1`; without host it is Amazon's."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    bucket = parts.path.strip("/")
    if not bucket:
        raise ValueError(f"HOLUB_BLOB_URL: no bucket in {parts.hostname}; write s3://…/BUCKET")
    config: Any = {"region": query.get("region", "us-east-1")}
    if parts.username:
        config["access_key_id"] = unquote(parts.username)
        config["secret_access_key"] = unquote(parts.password or "")
    plain = query.get("http") == "1"
    if parts.hostname:
        port = f":{parts.port}" if parts.port else ""
        config["endpoint"] = f"{'http' if plain else 'https'}://{parts.hostname}{port}"
        config["virtual_hosted_style_request"] = False
    # The library's default retries for minutes, far past any SMTP deadline.
    retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
    store = S3Store(
        bucket,
        config=config,
        client_options={"allow_http": plain, "timeout": timedelta(seconds=6)},
        retry_config=retry,
    )
    return S3BlobStore(store)


class S3BlobStore:
    """A `BlobStore` in one bucket; several processes may share it."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._waiting: list[_Put] = []
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._closed = False

    async def put(self, header: bytes, content: bytes | Spool, *, key: str) -> BlobRef:
        """Store one record; durable on return."""
        if self._closed:
            raise BlobError("the blob store is closed")
        try:
            async with asyncio.timeout(PUT_SECONDS):
                ref = await self._put(header, content)
        except (OSError, TimeoutError, BaseError) as error:
            _PUTS.labels("failed").inc()
            raise BlobError(f"cannot store: {error or 'no answer in time'}") from error
        _PUTS.labels("stored").inc()
        return ref

    async def _put(self, header: bytes, content: bytes | Spool) -> BlobRef:
        if not isinstance(content, bytes):
            return await self._put_spool(header, content)
        parts = record.encode(header, content)
        future: asyncio.Future[BlobRef] = asyncio.get_running_loop().create_future()
        put = _Put(header, parts, sum(map(len, parts)), len(content), future)
        if len(content) > ALONE_OCTETS:
            await self._send([put])
            return put.future.result()
        self._waiting.append(put)
        if not self._flushing:
            self._flushing = True
            self._spawn(self._flush())
        return await asyncio.shield(put.future)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        """Start an object whenever a slot is free; what comes in meanwhile is the next one."""
        try:
            while self._waiting:
                await self._slots.acquire()
                await asyncio.sleep(0)
                group = self._take()
                self._spawn(self._send_and_release(group))
        finally:
            self._flushing = False

    def _take(self) -> list[_Put]:
        group: list[_Put] = []
        octets = 0
        while self._waiting and len(group) < _GROUP and octets < _GROUP_OCTETS:
            group.append(self._waiting.pop(0))
            octets += group[-1].size
        return group

    async def _send_and_release(self, group: list[_Put]) -> None:
        try:
            await self._send(group)
        except (OSError, TimeoutError, BaseError, BlobError) as error:
            for put in group:
                if not put.future.done():
                    put.future.set_exception(BlobError(f"cannot store: {error}"))
        finally:
            self._slots.release()

    async def _send(self, group: Sequence[_Put]) -> None:
        """One object; the futures of its records are resolved when it is durable."""
        key, at, refs, listed = _new_key(time.time()), 0, [], []
        for put in group:
            refs.append(BlobRef(key, at, put.size))
            listed.append(_Listed(at, put.size, put.content_size, put.header))
            at += put.size
        data = b"".join([*(part for put in group for part in put.parts), _index(listed)])
        await failpoint("blobstore.before_put")
        await self._create(key, data)
        _GROUPS.observe(len(group))
        for put, ref in zip(group, refs, strict=True):
            if not put.future.done():
                put.future.set_result(ref)

    async def _create(self, key: str, data: bytes) -> None:
        """Create-if-absent; an answer that was lost is looked up before it counts as a failure."""
        try:
            await obstore.put_async(self._store, key, data, mode="create")
        except AlreadyExistsError:
            # The key is ours alone, so it was our own retry that came second.
            await self._check(key, data)
        except (BaseError, OSError) as error:
            log.warning("put is unknown", segment=key, error=str(error)[:200])
            await self._check(key, data)

    async def _check(self, key: str, data: bytes) -> None:
        try:
            found = await obstore.get_async(self._store, key)
            stored = bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise BlobError(f"not stored: {error}") from error
        if hashlib.sha256(stored).digest() != hashlib.sha256(data).digest():
            raise BlobError("what is stored is not what was sent")

    async def _put_spool(self, header: bytes, content: Spool) -> BlobRef:
        """Large content, streamed in parts, so that memory stays flat."""
        key = _new_key(time.time())
        head, sha256 = record.prelude(len(header), content.size), hashlib.sha256()
        length = len(head) + content.size + len(header) + record.TRAILER
        listed = [_Listed(0, length, content.size, header)]

        async def stream() -> AsyncIterator[bytes]:
            yield head
            async for chunk in content.chunks():
                sha256.update(chunk)
                yield chunk
            yield header + record.trailer(head, header, sha256.digest()) + _index(listed)

        await obstore.put_async(self._store, key, stream(), use_multipart=True)
        return BlobRef(key, 0, length)

    async def read(self, ref: BlobRef) -> Record:
        """One whole record, verified."""
        return record.decode(await self._range(ref, ref.offset, ref.length))

    async def read_range(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Octets [start, stop) of the content."""
        if stop <= start:
            return b""
        return await self._range(ref, ref.offset + record.PRELUDE + start, stop - start)

    async def _range(self, ref: BlobRef, start: int, length: int) -> bytes:
        """Exactly these octets; a body that is cut short is asked for again, never served."""
        error: Exception = BlobError("not tried")
        for _ in range(_TRIES):
            try:
                async with asyncio.timeout(READ_SECONDS):
                    data = bytes(
                        await obstore.get_range_async(
                            self._store, ref.segment, start=start, length=length
                        )
                    )
            except FileNotFoundError as missing:
                raise BlobMissing(f"no segment {ref.segment}") from missing
            except (BaseError, OSError, TimeoutError) as fault:
                error = fault
                continue
            if len(data) == length:
                return data
            error = BlobMissing(f"segment {ref.segment} ends before {start + length}")
        if isinstance(error, BlobError):
            raise error
        raise BlobError(f"cannot read {ref.segment}: {error or 'no answer in time'}") from error

    async def index(self, hour: datetime) -> AsyncIterator[IndexEntry]:
        """The records of an hour, from the index at the end of each object."""
        prefix = hour.astimezone(UTC).strftime("mail/%Y/%m/%d/%H/")
        for meta in await self._list(prefix):
            for item in await self._read_index(meta["path"], meta["size"]):
                ref = BlobRef(meta["path"], item.offset, item.length)
                yield IndexEntry(ref, item.header, item.size)

    async def _list(self, prefix: str) -> list[Any]:
        try:
            found: list[Any] = []
            async for page in obstore.list(self._store, prefix):
                found.extend(page)
        except (BaseError, OSError) as error:
            raise BlobError(f"cannot list {prefix}: {error}") from error
        return found

    async def _read_index(self, key: str, size: int) -> list[_Listed]:
        start = max(0, size - _TAIL)
        tail = await self._range(BlobRef(key, 0, size), start, size - start)
        length, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
        if magic != _MAGIC or length > size:
            raise BlobError(f"object {key} has no index; is it one of ours?")
        at = size - _FOOTER.size - length
        raw = (
            tail[at - start : -_FOOTER.size]
            if at >= start
            else await self._range(BlobRef(key, 0, size), at, length)
        )
        return msgspec.msgpack.decode(raw, type=list[_Listed])

    async def hours(self) -> list[datetime]:
        """The hours that hold objects, by walking the prefixes."""
        prefixes = ["mail/"]
        for _ in range(4):
            prefixes = [below for prefix in prefixes for below in await self._below(prefix)]
        found = []
        for prefix in prefixes:
            with contextlib.suppress(ValueError):
                moment = datetime.strptime(prefix.strip("/"), "mail/%Y/%m/%d/%H")
                found.append(moment.replace(tzinfo=UTC))
        return sorted(found)

    async def _below(self, prefix: str) -> Sequence[str]:
        try:
            listed = await obstore.list_with_delimiter_async(self._store, prefix)
        except (BaseError, OSError) as error:
            raise BlobError(f"cannot list {prefix}: {error}") from error
        return [f"{str(below).rstrip('/')}/" for below in listed["common_prefixes"]]

    async def delete(self, segment: str) -> None:
        """Remove an object; removing what is not there is success."""
        try:
            await obstore.delete_async(self._store, segment)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise BlobError(f"cannot delete {segment}: {error}") from error

    async def close(self) -> None:
        """Finish what is under way."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PUT_SECONDS)


def _new_key(now: float) -> str:
    hour = time.strftime("mail/%Y/%m/%d/%H", time.gmtime(now))
    return f"{hour}/{int(now * 1000):013x}-{uuid.uuid4().hex[:16]}"


def _index(listed: Sequence[_Listed]) -> bytes:
    raw = msgspec.msgpack.encode(list(listed))
    return raw + _FOOTER.pack(len(raw), _MAGIC)
