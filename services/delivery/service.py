"""Delivery's wiring."""

from __future__ import annotations

import time
from collections.abc import Sequence

from libs.common.accounts import Directory
from libs.common.accounts.account import split_address
from libs.common.jobs import DeliveryJob, Plan, decode, encode
from libs.common.queue.protocol import Lease
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.telemetry import record_steps
from libs.common.trace import Watermark
from services.delivery.arrival import arrivals
from services.delivery.plan import write_plans
from services.delivery.route import forwards, route
from services.delivery.settings import DeliverySettings
from services.delivery.sieve import Sieve
from services.platform import Platform

QUEUE = "delivery"


class Delivery:
    """Handles batches of delivery jobs."""

    def __init__(self, platform: Platform, settings: DeliverySettings) -> None:
        self._database = platform.database
        self._queue = platform.queue
        self._directory = Directory(platform.database)
        self._sieve = Sieve(platform.database, platform.blobs, self._directory, settings)
        self.watermark = Watermark(platform.database, QUEUE)

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Plan a batch, then hand it on; an exception puts all of it back."""
        start = time.time()
        jobs = {job.plan_id: job for job in (decode(le.body, DeliveryJob) for le in leases)}
        plans = await self._plan(jobs)
        await failpoint("delivery.after_plan")
        await self._hand_on(list(plans.values()))
        await failpoint("delivery.after_publish")
        for job in jobs.values():
            self.watermark.note(job.header.received_at)
        headers = [job.header for job in jobs.values()]
        record_steps(QUEUE, ((h.mail_id, h.traceparent) for h in headers), start)

    async def _plan(self, jobs: dict[str, DeliveryJob]) -> dict[str, Plan]:
        """A plan for each job; one that was made before counts, whatever has changed since."""
        addresses = {r.address for job in jobs.values() for r in job.header.envelope.recipients}
        found = await self._directory.targets(sorted(addresses))
        here = [(job, arrivals(job, found)) for job in jobs.values()]
        if marks := {i: mark for targets in found.values() for i, mark in targets.scripts}:
            await self._sieve.file(here, marks)
        srs = None
        if senders := {_domain(job) for job, arrived in here if forwards(job, found, arrived)}:
            srs = await self._directory.srs(senders)
        routes = [(job, route(job, found, arrived, srs)) for job, arrived in here]
        return await self._database.retry(lambda transaction: write_plans(transaction, routes))

    async def _hand_on(self, plans: Sequence[Plan]) -> None:
        storage = [encode(plan.storage) for plan in plans if plan.storage]
        relays = [encode(relay) for plan in plans for relay in plan.relays]
        if storage:
            await self._queue.put("storage", storage)
        if relays:
            await self._queue.put("relay", relays)


def _domain(job: DeliveryJob) -> str:
    return split_address(job.header.envelope.reverse_path)[1]


async def run(platform: Platform) -> None:
    """Work until the platform stops, then finish what is in hand."""
    settings: DeliverySettings = DeliverySettings.load()
    delivery = Delivery(platform, settings)
    worker = platform.worker(
        QUEUE,
        delivery.handle,
        most=settings.batch,
        concurrency=settings.concurrency,
        interval=settings.interval_seconds,
    )
    platform.ready(QUEUE)
    try:
        await worker.run(platform.stopping)
    finally:
        await delivery.watermark.close()
