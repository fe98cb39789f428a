"""Whole segment objects, as a backup reads them and a restore puts them back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from libs.common.blobstore import record
from libs.common.blobstore.protocol import BlobCorrupt, Segment
from libs.common.blobstore.s3_index import FOOTER, Listed, encode_index, index_length
from libs.common.blobstore.s3_object import Bucket

_BLOCK = 4 * 1024 * 1024
_SECONDS = 600.0


async def read_records(bucket: Bucket, segment: Segment) -> AsyncIterator[bytes]:
    """The object without its index, block by block; all of it when the index is damaged."""
    end = segment.octets
    if end:
        tail = await bucket.read(segment.key, max(0, end - FOOTER), min(FOOTER, end))
        # With a damaged one the reader finds the end of the last whole record by itself.
        with contextlib.suppress(BlobCorrupt):
            end = max(0, end - index_length(tail))
    for at in range(0, end, _BLOCK):
        yield await bucket.read(segment.key, at, min(_BLOCK, end - at))


async def put_records(bucket: Bucket, key: str, path: Path) -> None:
    """A file of records as an object with its index."""
    records, index = await asyncio.to_thread(_index, path)
    size = records + len(index)
    if size <= _BLOCK:
        await bucket.create(key, await asyncio.to_thread(path.read_bytes) + index, _SECONDS)
        return
    await bucket.stream(key, _blocks(path, index), size, _SECONDS)


def _index(path: Path) -> tuple[int, bytes]:
    """(octets of the records, what stands behind them in an object)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        found = record.scan(lambda at, length: os.pread(fd, length, at), size)
        listed = [
            Listed(item.offset, item.lengths.record, item.lengths.content, item.header)
            for item in found
            if item.header is not None
        ]
    finally:
        os.close(fd)
    return size, encode_index(listed)


async def _blocks(path: Path, index: bytes) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block
    yield index
