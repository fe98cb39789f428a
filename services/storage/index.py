"""The indexer: documents for SEARCH, written when storage has nothing better to do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.db import Database, DatabaseUnavailable
from libs.common.mailstore import MailStore
from libs.common.mailstore.indexing import behind, index_some
from libs.common.queue.protocol import QueueError
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive

log = get_logger(__name__)
_STEPS = Counter("holub_storage_index_steps_total", "Batches of messages indexed for SEARCH.")
_QUIET_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
_EVERY_SECONDS = 60.0


class Indexer:
    """Hears which mailboxes changed, and looks at all of them once a minute.

    `busy_at` says when storage last had mail to file: the index waits for a quiet moment, and
    takes one step now and then where there is none.
    """

    def __init__(
        self, database: Database, blobs: BlobStore, store: MailStore, busy_at: Callable[[], float]
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._store = store
        self._busy_at = busy_at
        self._changed: set[int] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Index for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._work())

    async def _listen(self) -> None:
        while True:
            try:
                async for ids in self._store.changes():
                    self._changed |= ids
                    self._wake.set()
            except QueueError as error:
                log.warning("no notices for the index", error=str(error))
            await asyncio.sleep(1)

    async def _work(self) -> None:
        wanted: list[int] | None = None  # all
        look_at_all = 0.0
        while True:
            if time.monotonic() >= look_at_all:
                wanted, look_at_all = None, time.monotonic() + _EVERY_SECONDS
            with survive(log, "the index waits", DatabaseUnavailable, SQLAlchemyError, BlobError):
                await self._catch_up(wanted)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, look_at_all - time.monotonic())):
                    await self._wake.wait()
            # Many notices together are one look.
            await asyncio.sleep(_QUIET_SECONDS)
            self._wake.clear()
            wanted, self._changed = sorted(self._changed), set()

    async def _catch_up(self, ids: list[int] | None) -> None:
        async with self._database.reading() as transaction:
            waiting = await behind(transaction, ids)
        for mailbox_id in waiting:
            await self._quiet()
            while await index_some(self._database, self._blobs, mailbox_id):
                _STEPS.inc()
                await self._quiet()

    async def _quiet(self) -> None:
        """Return when storage has been idle for a moment, or after half a minute."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while (now := time.monotonic()) - self._busy_at() < _QUIET_SECONDS and now < end:
            await asyncio.sleep(_QUIET_SECONDS)
