"""The relay itself: claims, attempts, results."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prometheus_client import Counter, Gauge, Histogram

from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.jobs import FilterJob, Recipient, RelayJob, decode, encode
from libs.common.jobs.record import encode_header
from libs.common.queue.protocol import Lease
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from services.relay import bounce, claim, schedule
from services.relay.attempt import Attempt, Attempter
from services.relay.bounce import Notice
from services.relay.claim import Claim, Unit
from services.relay.fate import Fate, Result, deferred
from services.relay.outgoing import split_head
from services.relay.settings import RelaySettings
from services.relay.settle import Report, Settled, settle
from services.relay.together import Together
from services.relay.transaction import FenceLost

log = get_logger(__name__)
_RESULTS = Counter("holub_relay_attempts_total", "Recipients tried, by result.", ["result"])
_SECONDS = Histogram("holub_relay_attempt_seconds", "Time of one attempt.")
_IN_HAND = Gauge("holub_relay_in_hand", "Claims in hand.")
_STALE = Counter("holub_relay_stale_total", "Attempts that another process took over.")
QUEUE = "relay"
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Told:
    """A DSN that is stored and not yet put."""

    child: str = ""
    job: bytes = b""


class Relay:
    """Claims what is to be tried, tries it, records the results."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        attempter: Attempter,
        settings: RelaySettings,
        owner: str,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._attempter = attempter
        self._settings = settings
        self._owner = owner
        self._slots = asyncio.Semaphore(settings.at_once)
        self._in_hand: dict[asyncio.Task[None], Attempt] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._fences: Together[tuple[Unit, ...], bool] = Together(self._check)
        self._reports: Together[Report, set[Unit]] = Together(self._settle)

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Claim jobs from the queue; once the rows are committed the jobs may be acked."""
        jobs = [decode(lease.body, RelayJob) for lease in leases]
        # A message in a slow hand holds one slot, and never the jobs behind it.
        await self._room.wait()
        claims = await self._database.retry(
            lambda tx: claim.claim_new(tx, jobs, self._owner, self._settings.lease_seconds)
        )
        await failpoint("relay.after_claim")
        self._take_in_hand(claims)

    async def poll(self) -> int:
        """Claim rows that are due; how many claims that made."""
        most = self._settings.at_once - len(self._in_hand)
        if most <= 0:
            return 0
        claims = await self._database.retry(
            lambda tx: claim.claim_due(tx, self._owner, self._settings.lease_seconds, most)
        )
        if claims:
            await failpoint("relay.after_claim")
        self._take_in_hand(claims)
        return len(claims)

    async def poll_for_ever(self) -> None:
        """Look for what is due until cancelled; at once again while there is more."""
        while True:
            try:
                found = await self.poll()
            except Exception as error:
                log.warning("cannot look for what is due", error=str(error))
                found = 0
            if not found:
                await asyncio.sleep(self._settings.poll_seconds)
            await self._room.wait()

    async def renew_for_ever(self) -> None:
        """Keep our leases while we live."""
        seconds = self._settings.lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            if not self._in_hand:
                continue
            try:
                await self._database.retry(lambda tx: claim.renew(tx, self._owner, seconds))
            except Exception as error:
                log.warning("leases are not renewed", error=str(error))

    async def drain(self, seconds: float) -> None:
        """Finish attempts; give up those before their dot after a while, and their leases."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=seconds)
        given_up = [(t, a) for t, a in self._in_hand.items() if not a.dotted]
        for task, _ in given_up:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        units = [unit for _, attempt in given_up for unit in attempt.claim.units]
        await self._database.retry(lambda tx: claim.release(tx, self._owner, units))

    def _take_in_hand(self, claims: Sequence[Claim]) -> None:
        for item in claims:
            attempt = Attempt(item)
            task = asyncio.create_task(self._run(attempt))
            self._in_hand[task] = attempt
            task.add_done_callback(self._let_go)
        self._count()

    def _let_go(self, task: asyncio.Task[None]) -> None:
        attempt = self._in_hand.pop(task)
        self._count()
        if not task.cancelled() and (error := task.exception()):
            # Its rows come due again when the lease ends: renewal keeps only what is in hand.
            mail_id = attempt.claim.job.header.mail_id
            log.error("attempt failed", mail_id=mail_id, exc_info=error)

    def _count(self) -> None:
        _IN_HAND.set(len(self._in_hand))
        if len(self._in_hand) < self._settings.at_once:
            self._room.set()
        else:
            self._room.clear()

    async def _run(self, attempt: Attempt) -> None:
        async with self._slots:
            start = time.monotonic()
            units = attempt.claim.units
            try:
                await self._attempter.run(attempt, lambda: self._fence(units))
            except FenceLost:
                _STALE.inc()
                log.warning("taken over", mail_id=attempt.claim.job.header.mail_id)
                return
            except Exception as error:
                # A fault of ours: what is not known yet is tried again.
                mail_id = attempt.claim.job.header.mail_id
                log.exception("attempt failed", mail_id=mail_id)
                why = deferred("4.3.0", f"a fault of ours: {type(error).__name__}")
                attempt.fates = {unit.n: why for unit in units} | attempt.fates
            took = time.monotonic() - start
            _SECONDS.observe(took)
            await self._finish(attempt, took)

    async def _fence(self, units: tuple[Unit, ...]) -> None:
        if not await self._fences.do(units):
            raise FenceLost

    async def _check(self, groups: Sequence[tuple[Unit, ...]]) -> list[bool]:
        units = [unit for group in groups for unit in group]
        async with self._database.reading() as transaction:
            ours = await claim.still_ours(transaction, self._owner, units)
        return [set(group) <= ours for group in groups]

    async def _finish(self, attempt: Attempt, took: float) -> None:
        report = await self._report(attempt, took)
        recorded = await self._record(report)
        await failpoint("relay.after_record")
        for item in report.results:
            _RESULTS.labels(item.state).inc()
            self._log(item, stale=item.unit not in recorded)

    def _log(self, item: Settled, *, stale: bool) -> None:
        if stale:
            _STALE.inc()
        log.info(
            "result refused: taken over" if stale else item.state,
            mail_id=item.unit.mail_id,
            recipient=item.recipient,
            attempt=item.unit.attempt,
            reply=item.why,
        )

    async def _record(self, report: Report) -> set[Unit]:
        """Until it is written: the host has the message, so a failed commit is not the end."""
        while True:
            try:
                return await self._reports.do(report)
            except DatabaseUnavailable as error:
                log.warning("result waits for the database", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _settle(self, reports: Sequence[Report]) -> list[set[Unit]]:
        async def work(transaction: Transaction) -> set[Unit]:
            return await settle(transaction, self._owner, reports)

        ours = await self._database.retry(work)
        return [ours & {item.unit for item in report.results} for report in reports]

    async def _report(self, attempt: Attempt, took: float) -> Report:
        """What the fates mean: outcomes, times of next attempts, and a DSN when one is due."""
        now = time.time()
        job = attempt.claim.job
        results = [self._result(attempt, unit, now) for unit in attempt.claim.units]
        failed = [item for item in results if item.state == "bounced" and item.child]
        if not failed:
            return Report(tuple(results), job.header.tenant, took)
        try:
            told = await self._store_dsn(attempt, [item.unit.n for item in failed], now)
        except BlobError as error:
            # No bounce without its DSN: the recipients fail again, and it is stored then.
            log.warning("bounce waits", mail_id=job.header.mail_id, error=str(error))
            at = now + self._settings.delays[0]
            again = [replace(i, state="deferred", child="", next_attempt_at=at) for i in failed]
            kept = [item for item in results if item not in failed]
            return Report((*kept, *again), job.header.tenant, took)
        results = [replace(i, child=told.child) if i.child else i for i in results]
        return Report(tuple(results), job.header.tenant, took, told.job, told.child)

    def _result(self, attempt: Attempt, unit: Unit, now: float) -> Settled:
        """One recipient; `child` is not empty when a DSN must tell of it."""
        fate, recipient = attempt.fates[unit.n], attempt.claim.recipient(unit.n)
        address, header = recipient.address, attempt.claim.job.header
        if fate.result is Result.RELAYED:
            return Settled(unit, address, "relayed", fate.why)
        if fate.result is Result.DEFERRED:
            at = schedule.next_attempt(
                header.received_at,
                unit.attempt,
                now,
                random.random(),
                delays=self._settings.delays,
                lifetime=self._settings.lifetime_seconds,
            )
            if at is not None:
                return Settled(unit, address, "deferred", fate.why, at)
        match bounce.whom_to_tell(header, recipient):
            case Notice.SENDER:
                return Settled(unit, address, "bounced", fate.why, child="due")
            case Notice.NOBODY:
                return Settled(unit, address, "bounced", f"{fate.why} (NOTIFY: no DSN)")
            case Notice.OPERATOR:
                return Settled(unit, address, "quarantined", f"{fate.why} (no DSN: I9)")

    async def _store_dsn(self, attempt: Attempt, ns: Sequence[int], now: float) -> _Told:
        job, fates = attempt.claim.job, attempt.fates
        child = bounce.child_id(job.header.mail_id, ns)
        failed = [(attempt.claim.recipient(n), self._final(fates[n])) for n in ns]
        content = self._compose(job, failed, child, now, await self._original_header(job))
        header = bounce.dsn_header(job.header, child, self._settings.hostname, now)
        ref = await self._blobs.put(encode_header(header), content, key=child)
        return _Told(child, encode(FilterJob(ref, header)))

    def _final(self, fate: Fate) -> Fate:
        if fate.result is Result.BOUNCED:
            return fate
        days = self._settings.lifetime_seconds / 86400
        return replace(fate, text=f"{fate.text}\nNot delivered within {days:g} days.")

    def _compose(
        self,
        job: RelayJob,
        failed: Sequence[tuple[Recipient, Fate]],
        child: str,
        now: float,
        original: bytes,
    ) -> bytes:
        return bounce.failure_report(
            job.header,
            failed,
            child=child,
            hostname=self._settings.hostname,
            now=now,
            original_header=original,
        )

    async def _original_header(self, job: RelayJob) -> bytes:
        first = await self._blobs.read_range(job.blob, 0, min(job.size, 65_536))
        return split_head(first)[0]
