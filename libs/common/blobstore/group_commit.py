"""Group commit: puts that wait together share one write and one fdatasync.

One thread writes: it takes all puts that wait, appends them to the process's own segment with
one write, syncs once, and then answers all of them.  After a group of several it lets the next
one gather for a moment: what a group costs, in thread switches above all, it costs once for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.blobstore.metrics import GROUP_SIZE
from libs.common.blobstore.protocol import BlobError, BlobRef
from libs.common.blobstore.segment_file import Folders, SegmentFile
from libs.common.blobstore.segment_key import (
    GROUP_OCTETS,
    GROUP_RECORDS,
    MAX_PENDING,
    hour_prefix,
)
from libs.common.runtime.failpoint import failpoint_sync

SEGMENT_OCTETS = 64 * 1024 * 1024
"""A segment that has grown past this is closed and a new one begun."""

GATHER_SECONDS = 0.004
"""Between two groups under load; a put that comes alone waits for nothing."""


@dataclass(slots=True, eq=False)
class _Put:
    parts: list[bytes]
    size: int
    future: asyncio.Future[BlobRef]
    taken: bool = False


class GroupCommit:
    """The writing thread of one process, and what waits for it."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._segment: SegmentFile | None = None
        self._waiting: deque[_Put] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._octets = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, parts: list[bytes]) -> BlobRef:
        """Append one record; it is durable on return.

        Cancelled while it waits, it is not written; while it is being written, nobody knows.
        """
        size = sum(map(len, parts))
        while self._octets + size > MAX_PENDING:
            self._room.clear()
            await self._room.wait()
        put = _Put(parts, size, asyncio.get_running_loop().create_future())
        self._hand_over(put)
        self._octets += size
        try:
            return await put.future
        finally:
            self._withdraw(put)

    def _hand_over(self, put: _Put) -> None:
        with self._wake:
            if self._closed:
                raise BlobError("the blob store is closed")
            self._waiting.append(put)
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blobstore", daemon=True)
            self._thread.start()

    def _withdraw(self, put: _Put) -> None:
        with self._wake:
            if put.taken:
                return
            self._waiting.remove(put)
        self._release(put.size)

    def _release(self, size: int) -> None:
        self._octets -= size
        self._room.set()

    def _run(self) -> None:
        """The writing thread."""
        gather = False
        while group := self._take(gather):
            answer: Sequence[BlobRef] | Exception
            try:
                answer = self._write(group)
            except Exception as error:  # whatever it is, the callers must hear of it
                self._abandon()
                answer = error
            GROUP_SIZE.observe(len(group))
            gather = len(group) > 1
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                group[0].future.get_loop().call_soon_threadsafe(self._answer, group, answer)
        if self._segment:
            self._segment.close()

    def _take(self, gather: bool) -> list[_Put]:
        """All puts that wait, up to the bounds of a group; empty: the store is closed."""
        if gather and not self._closed:
            time.sleep(GATHER_SECONDS)
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            group: list[_Put] = []
            octets = 0
            while self._waiting and len(group) < GROUP_RECORDS and octets < GROUP_OCTETS:
                put = self._waiting.popleft()
                put.taken = True
                group.append(put)
                octets += put.size
            return group

    def _write(self, group: list[_Put]) -> list[BlobRef]:
        failpoint_sync("blobstore.before_write")
        segment = self._current()
        refs: list[BlobRef] = []
        at = segment.size
        for put in group:
            refs.append(BlobRef(segment.key, at, put.size))
            at += put.size
        segment.append([part for put in group for part in put.parts])
        segment.sync()
        return refs

    def _current(self) -> SegmentFile:
        """The open segment; a new one when it is full or the hour has changed."""
        segment = self._segment
        if segment:
            same_hour = segment.key.startswith(hour_prefix(time.time()))
            if segment.size <= SEGMENT_OCTETS and same_hour:
                return segment
            self._segment = None
            segment.close()
        self._segment = SegmentFile(self._folders)
        return self._segment

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment:
            segment.abandon()

    def _answer(self, group: list[_Put], answer: Sequence[BlobRef] | Exception) -> None:
        for number, put in enumerate(group):
            self._release(put.size)
            if put.future.done():
                continue
            if isinstance(answer, Exception):
                put.future.set_exception(BlobError(f"cannot store: {answer}"))
            else:
                put.future.set_result(answer[number])

    async def close(self) -> None:
        """Write what waits, then stop the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread:
            await asyncio.to_thread(self._thread.join)
