"""Segments out of the blob store into the archive, and back, each verified on its way."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from libs.common.blobstore import record
from libs.common.blobstore.protocol import BlobMissing, BlobStore, Segment
from services.cli.backup.archive import Archive, Kept, sha256_of
from services.cli.backup.progress import Progress, octets
from services.platform import StartError

_AT_ONCE = 4
T = TypeVar("T")


async def all_segments(blobs: BlobStore) -> AsyncIterator[Segment]:
    """Every segment of the store, by the hour."""
    for hour in await blobs.hours():
        for segment in await blobs.segments(hour):
            yield segment


class CopyOut:
    """Copies what the archive does not have yet."""

    def __init__(
        self, blobs: BlobStore, archive: Archive, known: dict[str, Kept], progress: Progress
    ) -> None:
        self._blobs = blobs
        self._archive = archive
        self._known = known
        self._progress = progress
        self.kept: list[Kept] = []
        self.damaged: list[str] = []
        self.copied = 0
        self.octets = 0

    async def run(self) -> None:
        """Everything that the store lists now."""
        waiting = [segment async for segment in all_segments(self._blobs)]
        total = len(waiting)

        async def one(segment: Segment) -> None:
            await self._keep(segment)
            done, size = len(self.kept), octets(self.octets)
            self._progress.step(f"blobs: {done:,} of {total:,} segments, {size} copied")

        await each(waiting, one)

    async def _keep(self, segment: Segment) -> None:
        there = self._known.get(segment.key)
        path = self._archive.segment(segment.key)
        if there and there.source_size == segment.octets and _size(path) == there.size:
            self.kept.append(there)
            return
        try:
            kept = await self._copy(segment, path)
        except BlobMissing:
            # It went since it was listed; whether a row needs it is asked at the end.
            return
        self.kept.append(kept)
        self.copied += 1
        self.octets += kept.size

    async def _copy(self, segment: Segment, path: Path) -> Kept:
        with self._archive.writing(path) as file:
            async for block in self._blobs.blocks(segment):
                await asyncio.to_thread(file.write, block)
            file.flush()
            end, damaged = await asyncio.to_thread(examine, file.fileno())
            # Behind the last whole record is what a writer had not finished.
            file.truncate(end)
            sha256 = await asyncio.to_thread(_digest, file.fileno(), end)
        self.damaged += [f"{segment.key} at {offset}" for offset in damaged]
        return Kept(segment.key, segment.octets, end, sha256)


def examine(fd: int) -> tuple[int, list[int]]:
    """(where the last whole record ends, offsets of those that do not match)."""

    def read(at: int, length: int) -> bytes:
        return os.pread(fd, length, at)

    end, damaged = 0, []
    for found in record.scan(read, os.fstat(fd).st_size):
        end = found.end
        if not record.matches(read, found):
            damaged.append(found.offset)
    return end, damaged


def _digest(fd: int, size: int) -> bytes:
    sha256, at = hashlib.sha256(), 0
    while at < size and (block := os.pread(fd, min(1 << 20, size - at), at)):
        sha256.update(block)
        at += len(block)
    return sha256.digest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


async def copy_in(
    blobs: BlobStore, archive: Archive, kept: Iterable[Kept], progress: Progress
) -> int:
    """Give the blob store every segment that it does not have; how many."""
    wanted = {item.key: item for item in kept}
    there = set()
    async for segment in all_segments(blobs):
        if segment.key not in wanted:
            raise StartError(
                f"the blob store is not empty: {segment.key} is not of this backup; restore into"
                " a new one (HOLUB_BLOB_URL), or keep what is there with --database-only"
            )
        there.add(segment.key)
    missing = [item for key, item in sorted(wanted.items()) if key not in there]
    total, done, size = len(missing), 0, 0

    async def one(item: Kept) -> None:
        nonlocal done, size
        path = archive.segment(item.key)
        await asyncio.to_thread(check, path, item)
        await blobs.adopt(item.key, path)
        done, size = done + 1, size + item.size
        progress.step(f"blobs: {done:,} of {total:,} segments, {octets(size)}")

    await each(missing, one)
    return total


def check(path: Path, item: Kept) -> None:
    """`StartError` when a segment of the archive is not what was kept."""
    if _size(path) < 0:
        raise StartError(f"{path} is missing from the backup")
    if _size(path) != item.size or sha256_of(path) != item.sha256:
        raise StartError(f"{path} does not match its checksum; remove it and take a backup again")


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do all of it, a few at a time; the first failure ends it."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
