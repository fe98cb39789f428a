"""Filter's wiring."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from libs.common.dns import open_resolver
from libs.common.jobs import DeliveryJob, FilterJob, VerdictReply, decode, encode
from libs.common.queue.protocol import Lease
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.telemetry import record_steps
from libs.common.trace import Watermark
from services.filter.authentication import Authenticator
from services.filter.budget import OctetBudget
from services.filter.clamd import ClamdDropped, ClamdUnavailable, ScanFailed, open_clamd
from services.filter.examine import Examined, Examiner
from services.filter.fault import Unavailable
from services.filter.judge import Judge
from services.filter.learn import QUEUE as LEARN
from services.filter.learn import Learner
from services.filter.record import Decided, known, record
from services.filter.rescan.rescanner import Rescanner
from services.filter.settings import FilterSettings
from services.filter.signatures import watch_signatures
from services.filter.spam import make_spam, open_engines
from services.filter.telling import Telling
from services.platform import Platform

log = get_logger(__name__)
QUEUE = "filter"
HOLD_SECONDS = 2.0
"""Between two tries at a message that waits for a scanner."""
TOGETHER_SECONDS = 0.2
"""So long the messages of a batch wait for each other, to share one transaction."""
MOST_DROPS = 5
"""So many daemons may go away in the middle of one content before that content is to blame."""


class Filter:
    """Handles batches of filter jobs."""

    def __init__(self, platform: Platform, examiner: Examiner, unscanned: str) -> None:
        self._database = platform.database
        self._queue = platform.queue
        self._examiner = examiner
        self._telling = Telling(platform.queue, unscanned)
        self.watermark = Watermark(platform.database, QUEUE)
        self.awaited = True
        """Does a client wait for the verdicts of the last batch?"""
        self.busy_at = 0.0
        """When mail last came (monotonic clock)."""

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Examine, record, reply, hand on; an exception puts all of it back.

        Messages that no scanner answers for are held in hand; the others of the batch go on.
        """
        start = time.time()
        self.busy_at = time.monotonic()
        jobs = [decode(lease.body, FilterJob) for lease in leases]
        self.awaited = any(job.reply_to for job in jobs)
        again = [
            job
            for job, lease in zip(jobs, leases, strict=True)
            if lease.attempt or lease.suspect or job.swept
        ]
        decided = await self._known(again)
        if decided:
            await self._hand_on(decided)
        done = {item.job.header.mail_id for item in decided}
        await self._examine_all([job for job in jobs if job.header.mail_id not in done])
        for job in jobs:
            self.watermark.note(job.header.received_at)
        headers = [job.header for job in jobs]
        record_steps(QUEUE, ((h.mail_id, h.traceparent) for h in headers), start)

    async def _known(self, jobs: Sequence[FilterJob]) -> list[Decided]:
        """What was decided before needs no second scan: the stored verdict counts."""
        if not jobs:
            return []
        async with self._database.reading() as transaction:
            return await known(transaction, jobs)

    async def _examine_all(self, jobs: Sequence[FilterJob]) -> None:
        drops: Counter[str] = Counter()
        while jobs:
            jobs = await self._examine_round(jobs, drops)
            if jobs:
                log.warning("held: no scanner answers", messages=len(jobs))
                await asyncio.sleep(HOLD_SECONDS)

    async def _examine_round(
        self, jobs: Sequence[FilterJob], drops: Counter[str]
    ) -> list[FilterJob]:
        """Examine all at once and hand on what is decided; those that wait for a scanner.

        Mostly they are ready together.  One whose DNS or engine is slow keeps nobody.
        """
        start = time.monotonic()
        tasks = {asyncio.create_task(self._examiner.examine(job)): job for job in jobs}
        waiting: list[FilterJob] = []
        try:
            while tasks:
                done = await _some(tasks)
                ready = [(tasks.pop(task), task) for task in done]
                examined, held, gone = _sorted_out(ready, drops)
                waiting += held
                if gone:
                    await self._telling.down(gone)
                if examined:
                    took = time.monotonic() - start
                    await self._hand_on(await self._record(examined, took))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not waiting:
            await self._telling.up()
        return waiting

    async def _record(self, examined: Sequence[Examined], took: float) -> list[Decided]:
        decided = await self._database.retry(lambda tx: record(tx, examined, took))
        await failpoint("filter.after_commit")
        return decided

    async def _hand_on(self, decided: Sequence[Decided]) -> None:
        await self._reply(decided)
        if onward := [item for item in decided if not item.held]:
            await self._queue.put("delivery", [encode(_delivery(item)) for item in onward])
        await failpoint("filter.after_publish")

    async def _reply(self, decided: Sequence[Decided]) -> None:
        """One answer for each ingress process, with all of its verdicts."""
        by_address: dict[str, list[bytes]] = {}
        for item in decided:
            if item.job.reply_to:
                reply = VerdictReply(item.job.header.mail_id, item.verdict, item.text)
                by_address.setdefault(item.job.reply_to, []).append(encode(reply))
        for address, bodies in by_address.items():
            await self._queue.reply(address, bodies)


async def _some(
    tasks: Mapping[asyncio.Task[Examined], FilterJob],
) -> list[asyncio.Task[Examined]]:
    """Those that are ready, in the order of the batch: after a moment at once, else the next."""
    done, pending = await asyncio.wait(tasks, timeout=TOGETHER_SECONDS)
    if not done:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    return [task for task in tasks if task in done]


def _sorted_out(
    ready: Sequence[tuple[FilterJob, asyncio.Task[Examined]]], drops: Counter[str]
) -> tuple[list[Examined], list[FilterJob], str]:
    """(those that are decided, those that wait for a scanner, why no scanner answers or "")"""
    examined, waiting, away = [], [], ""
    for job, task in ready:
        try:
            examined.append(task.result())
        except Unavailable as error:
            waiting.append(job)
            dropped = isinstance(error, ClamdDropped)
            drops[job.header.mail_id] += dropped
            if isinstance(error, ClamdUnavailable) and not dropped:
                away = str(error)
            if drops[job.header.mail_id] >= MOST_DROPS:
                raise ScanFailed(str(error)) from error
    return examined, waiting, away


def _delivery(item: Decided) -> DeliveryJob:
    return DeliveryJob(
        item.job.blob,
        item.job.header,
        item.size,
        verdict=item.verdict,
        prefix=item.prefix,
        disguised=item.disguised,
    )


async def run(platform: Platform) -> None:
    """Work until the platform stops, then finish what is in hand."""
    settings: FilterSettings = FilterSettings.load()
    async with (
        open_clamd(
            settings.clamd,
            seconds=settings.clamd_seconds,
            sessions=settings.clamd_sessions,
            max_octets=settings.clamd_max_octets,
        ) as clamd,
        open_engines(settings) as engines,
    ):
        budget = OctetBudget(settings.memory_octets)
        resolver = open_resolver(platform.settings.dns_servers)
        sealers = frozenset(
            one.strip().lower() for one in settings.trusted_sealers.split(",") if one
        )
        authenticator = Authenticator(
            resolver,
            settings.dmarc,
            sealers,
            settings.authentication_seconds,
            # A host on our own network is asked about only where somebody set up DNS for that.
            local=bool(platform.settings.dns_servers),
        )
        judge = Judge(clamd, settings.unscanned, authenticator, make_spam(settings, engines))
        examiner = Examiner(platform.blobs, judge, budget)
        role = Filter(platform, examiner, settings.unscanned)
        worker = platform.worker(
            QUEUE,
            role.handle,
            most=settings.batch,
            concurrency=settings.concurrency,
            interval=lambda: (
                settings.interval_seconds if role.awaited else settings.unhurried_seconds
            ),
        )
        learner = Learner(platform, engines, settings.spam_max_octets)
        # What was delivered stays where it is until somebody has looked at it again.
        second = Judge(
            clamd, settings.unscanned, authenticator, make_spam(settings, engines, "raise")
        )
        rescanner = Rescanner(
            platform, second, budget, lambda: role.busy_at, settings.rescan_per_second
        )
        lessons = platform.worker(LEARN, learner.handle, most=16, patience=(Unavailable,))
        platform.ready(QUEUE)
        aside = [asyncio.create_task(rescanner.run())]
        if clamd is not None:
            watch = watch_signatures(platform.database, clamd, settings.rescan_hours)
            aside.append(asyncio.create_task(watch))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(lessons.run(platform.stopping))
                await worker.run(platform.stopping)
        finally:
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, return_exceptions=True)
            await role.watermark.close()
            await resolver.close()
