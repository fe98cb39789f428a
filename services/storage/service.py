"""Storage's wiring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from libs.common.db import Transaction
from libs.common.garbage import Collector
from libs.common.jobs import StorageJob, decode
from libs.common.mailstore import MailStore
from libs.common.queue.protocol import Lease
from libs.common.runtime.failpoint import failpoint, seeded_bug
from libs.common.runtime.telemetry import record_steps
from libs.common.trace import Watermark
from services.platform import Platform
from services.storage.collect import collect_garbage
from services.storage.commit import commit
from services.storage.expire import expire_recoverable, look_after_quarantine
from services.storage.index import Indexer
from services.storage.outbox import pump
from services.storage.retention import Ages, look_after_retention
from services.storage.settings import StorageSettings
from services.storage.sweeper import Sweeper

QUEUE = "storage"


class Storage:
    """Handles batches of storage jobs."""

    def __init__(self, platform: Platform) -> None:
        self._database = platform.database
        self._mailstore = MailStore(platform.database, platform.blobs, platform.queue)
        self.watermark = Watermark(platform.database, QUEUE)
        self.busy_at = 0.0
        """When mail was last filed (monotonic clock)."""

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Commit a batch; an exception puts all of it back."""
        start = time.time()
        self.busy_at = time.monotonic()
        jobs = [decode(lease.body, StorageJob) for lease in leases]
        if seeded_bug("ack_before_commit"):
            for lease in leases:
                await lease.ack()

        async def work(transaction: Transaction) -> set[int]:
            changed = await commit(transaction, jobs)
            await failpoint("storage.before_commit")
            return changed

        changed = await self._database.retry(work)
        await failpoint("storage.after_commit")
        await self._mailstore.announce(changed)
        for job in jobs:
            self.watermark.note(job.received_at)
        record_steps(QUEUE, ((job.mail_id, job.traceparent) for job in jobs), start)


async def run(platform: Platform) -> None:
    """Work until the platform stops, then finish what is in hand."""
    settings: StorageSettings = StorageSettings.load()
    storage = Storage(platform)
    worker = platform.worker(
        QUEUE,
        storage.handle,
        most=settings.batch,
        concurrency=settings.concurrency,
        interval=settings.interval_seconds,
    )
    sweeper = Sweeper(platform.database, platform.queue, platform.blobs, settings)
    aside = [
        asyncio.create_task(pump(platform.database, platform.queue, settings.outbox_every_seconds))
    ]
    aside.append(asyncio.create_task(expire_recoverable(platform.database)))
    held = look_after_quarantine(platform.database, platform.blobs, settings.quarantine_days)
    aside.append(asyncio.create_task(held))
    ages = Ages(settings.trace_days, settings.ledger_days)
    aside.append(asyncio.create_task(look_after_retention(platform.database, platform.queue, ages)))
    if settings.sweep and not seeded_bug("sweeper_off"):
        aside.append(asyncio.create_task(sweeper.run()))
    if settings.gc:
        collector = Collector(
            platform.database, platform.queue, platform.blobs, settings.garbage_rules()
        )
        every = settings.gc_every_hours * 3600
        aside.append(asyncio.create_task(collect_garbage(platform.database, collector, every)))
    if settings.search_index:
        store = platform.mailstore()
        indexer = Indexer(platform.database, platform.blobs, store, lambda: storage.busy_at)
        aside.append(asyncio.create_task(indexer.run()))
    platform.ready(QUEUE)
    try:
        await worker.run(platform.stopping)
    finally:
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)
        await storage.watermark.close()
