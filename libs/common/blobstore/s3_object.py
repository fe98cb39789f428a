"""Objects in a bucket, with every answer checked: lost answers, cut bodies, stalls.

Each call ends within its time.  An answer that did not come says nothing about the object, so
a create is looked up by its key, which no other process uses, before it counts as a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from libs.common.blobstore.protocol import BlobError, BlobMissing
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
CHECK_SECONDS = 2.0
READ_SECONDS = 20.0
_REQUEST_SECONDS = 6.0
_RETRY_SECONDS = 3.0
_TRIES = 4
_PAUSE = 0.2
_PIECE = 4 * 1024 * 1024
_PART = 5 * 1024 * 1024
_PARTS_AT_ONCE = 2
_FAULTS = (BaseError, OSError, TimeoutError)
T = TypeVar("T")


def open_bucket(url: str) -> Bucket:
    """`s3://KEY:SECRET@HOST:PORT/BUCKET?region=R&http=1`; without host it is Amazon's."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    name = parts.path.strip("/")
    if not name:
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
    retry: Any = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=0.5),
            "base": 2,
        },
    }
    options: Any = {"allow_http": plain, "timeout": timedelta(seconds=_REQUEST_SECONDS)}
    return Bucket(S3Store(name, config=config, client_options=options, retry_config=retry))


class Bucket:
    """What a blob store needs of S3; raises `BlobError` and nothing else."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def create(self, key: str, data: bytes, seconds: float) -> None:
        """Create an object; on return it is stored, whatever the answers were.

        `CHECK_SECONDS` before the seconds are over it is looked up.
        """
        try:
            async with asyncio.timeout(seconds - CHECK_SECONDS):
                await obstore.put_async(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            # The key is ours alone, so it was the library's own retry that came second.
            await self._check(key, data, len(data))
        except _FAULTS as error:
            log.warning("put is unknown", segment=key, error=str(error)[:200])
            await self._check(key, data, len(data))

    async def stream(
        self, key: str, blocks: AsyncIterator[bytes], size: int, seconds: float
    ) -> None:
        """Create an object of `size` octets in parts, so that memory stays flat.

        The last of the blocks is what a lost answer is checked against, `CHECK_SECONDS` before
        the seconds are over.
        """
        last = b""

        async def remember() -> AsyncIterator[bytes]:
            nonlocal last
            async for block in blocks:
                last = block
                yield block

        try:
            async with asyncio.timeout(seconds - CHECK_SECONDS):
                await obstore.put_async(
                    self._store,
                    key,
                    remember(),
                    use_multipart=True,
                    chunk_size=_PART,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except _FAULTS as error:
            log.warning("put is unknown", segment=key, error=str(error)[:200])
            # The parts become an object all at once, so its size and its end prove all of it.
            await self._check(key, last, size)

    async def _check(self, key: str, end: bytes, size: int) -> None:
        """Is there an object of this size, with this end?"""
        start = size - len(end)
        try:
            stored, found = await _within(CHECK_SECONDS, lambda: self._look(key, start))
        except BlobMissing as error:
            raise BlobError(f"not stored: {key} is not there") from error
        if stored != size or found != end:
            raise BlobError(f"what is stored as {key} is not what was sent")

    async def _look(self, key: str, start: int) -> tuple[int, bytes]:
        meta = await obstore.head_async(self._store, key)
        size = int(meta["size"])
        if size <= start:
            return size, b""
        return size, await self._piece(key, start, size - start)

    async def _piece(self, key: str, start: int, length: int) -> bytes:
        raw = await obstore.get_range_async(self._store, key, start=start, length=length)
        return bytes(raw)

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Exactly these octets; a body that is cut short is asked for again, never served."""
        deadline = time.monotonic() + READ_SECONDS
        pieces = []
        for at in range(start, start + length, _PIECE):
            ask = partial(self._exactly, key, at, min(_PIECE, start + length - at))
            pieces.append(await _within(deadline - time.monotonic(), ask))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _exactly(self, key: str, start: int, length: int) -> bytes:
        data = await self._piece(key, start, length)
        if len(data) != length:
            raise _ShortError(f"{key} ends before {start + length}")
        return data

    async def size(self, key: str) -> int:
        """Octets of an object."""
        meta = await _within(READ_SECONDS, lambda: obstore.head_async(self._store, key))
        return int(meta["size"])

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Key and size of every object below a prefix."""
        try:
            async for page in obstore.list(self._store, prefix):
                for meta in page:
                    yield meta["path"], meta["size"]
        except _FAULTS as error:
            raise BlobError(f"cannot list {prefix}: {error}") from error

    async def below(self, prefix: str) -> Sequence[str]:
        """The prefixes one level further down, each with its slash."""
        listed = await _within(
            READ_SECONDS, lambda: obstore.list_with_delimiter_async(self._store, prefix)
        )
        return [f"{str(found).rstrip('/')}/" for found in listed["common_prefixes"]]

    async def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is success."""
        try:
            await _within(READ_SECONDS, lambda: obstore.delete_async(self._store, key))
        except BlobMissing:
            return


class BlobEnds(BlobMissing):
    """The object is there and ends too early."""


class _ShortError(OSError):
    """The body ended before the range did."""


async def _within(seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of an idempotent request that is sent again after a fault, all in this time."""
    deadline = time.monotonic() + seconds
    fault: BaseException = TimeoutError("no answer in time")
    for number in range(_TRIES):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if number:
            await asyncio.sleep(min(_PAUSE, left))
        try:
            # Half of what is left, so that one stalled answer leaves time for another try.
            async with asyncio.timeout(max(left / 2, 0.5) if left > 1 else left):
                return await ask()
        except FileNotFoundError as error:
            raise BlobMissing(str(error)[:200]) from error
        except _FAULTS as error:
            fault = error
    if isinstance(fault, _ShortError):
        raise BlobEnds(str(fault)) from fault
    raise BlobError(f"S3 does not answer: {str(fault)[:200] or 'no answer in time'}") from fault
