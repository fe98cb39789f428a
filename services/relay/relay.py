"""The relay itself: claims, attempts, results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import select

from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.schema import effect
from libs.common.jobs import RelayJob, decode
from libs.common.queue.protocol import Lease
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.telemetry import record_steps
from libs.common.trace import Watermark
from libs.protocols.smtp.refusal_class import HARD
from services.relay import claim, suppression
from services.relay.attempt import Attempt, Attempter
from services.relay.bounce import Kind
from services.relay.claim import Claim, Unit
from services.relay.destinations import Admission, Destinations
from services.relay.fate import Fate, deferred
from services.relay.lanes import Lanes, Turn
from services.relay.results import Results
from services.relay.settings import RelaySettings
from services.relay.settle import Report, Settled, settle
from services.relay.suppression import HardBounce
from services.relay.together import Together
from services.relay.transaction import MOST_RECIPIENTS, FenceLost

T = TypeVar("T")
log = get_logger(__name__)
_RESULTS = Counter("holub_relay_attempts_total", "Recipients tried, by result.", ["result"])
_REFUSALS = Counter(
    "holub_relay_refusals_total", "Recipients that failed for good or for now, by class.", ["class"]
)
_SECONDS = Histogram("holub_relay_attempt_seconds", "Time of one attempt.")
_IN_HAND = Gauge("holub_relay_in_hand", "Claims in hand.")
_STALE = Counter("holub_relay_stale_total", "Attempts that another process took over.")
QUEUE = "relay"
RETRY_SECONDS = 1.0


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
        self._results = Results(blobs, settings)
        self._attempter = attempter
        self._settings = settings
        self._owner = owner
        self.watermark = Watermark(database, QUEUE)
        most = settings.at_once_by_destination
        self._destinations = Destinations(most, max(settings.delays))
        self._lanes = Lanes(
            self._destinations, settings.at_once, settings.slow_seconds, self._count
        )
        self._in_hand: dict[asyncio.Task[None], Attempt] = {}
        self._stopping = False
        self._room = asyncio.Event()
        self._room.set()
        self._fences: Together[tuple[Unit, ...], bool] = Together(self._check)
        self._put_offs: Together[tuple[tuple[Unit, ...], float], None] = Together(self._put_off)
        self._reports: Together[Report, set[Unit]] = Together(self._settle)

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Claim jobs from the queue; once the rows are committed the jobs may be acked."""
        jobs = [decode(lease.body, RelayJob) for lease in leases]
        await self._room.wait()
        seconds, admission = self._settings.lease_seconds, self._admission()

        async def work(transaction: Transaction) -> list[Claim]:
            claims = await claim.claim_new(
                transaction, jobs, self._owner, seconds, admission.put_off
            )
            return await self._without_suppressed(transaction, claims)

        claims = await self._database.retry(work)
        await failpoint("relay.after_claim")
        self.watermark.note(max(job.header.received_at for job in jobs))
        self._take_in_hand(claims)

    async def poll(self) -> int:
        """Claim rows that are due; how many there were, with those that were put off."""
        # What ends untried has no lane, so all that is in hand is bounded, too.
        most = min(
            self._most - self._destinations.quick_in_hand, 3 * self._most - len(self._in_hand)
        )
        if most <= 0:
            return 0
        seconds, admission = self._settings.lease_seconds, self._admission()

        async def work(transaction: Transaction) -> list[Claim]:
            claims = await claim.claim_due(
                transaction, self._owner, seconds, most, admission.put_off, self._given_up
            )
            return await self._without_suppressed(transaction, claims)

        claims = await self._database.retry(work)
        if claims:
            await failpoint("relay.after_claim")
        self._take_in_hand(claims)
        return len(claims) + admission.refused

    def _given_up(self, domain: str, received_at: float) -> bool:
        """Too old, and its destination is left alone: an open one gets a last attempt."""
        old = received_at + self._settings.lifetime_seconds <= time.time()
        return old and self._destinations.closed_for(domain, time.monotonic()) > 0

    async def _without_suppressed(
        self, transaction: Transaction, claims: Sequence[Claim]
    ) -> list[Claim]:
        after = self._settings.suppress_after
        return await suppression.without_suppressed(transaction, claims, after, time.time())

    @property
    def _most(self) -> int:
        """Claims in hand in each lane: as many as run may wait, so that none has to."""
        return 2 * self._settings.at_once

    def _admission(self) -> Admission:
        return Admission(self._destinations, time.monotonic(), self._most)

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
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            if not self._in_hand:
                continue
            try:
                units = [u for attempt in self._in_hand.values() for u in attempt.waiting]
                await self._renew(units)
            except Exception as error:
                log.warning("leases are not renewed", error=str(error))

    async def _renew(self, units: Sequence[Unit]) -> None:
        seconds = self._settings.lease_seconds
        await self._database.retry(lambda tx: claim.renew(tx, self._owner, units, seconds))

    async def open_when(self, stopping: asyncio.Event) -> None:
        """Once we stop, jobs in hand are claimed without waiting, and released by `drain`."""
        await stopping.wait()
        self._stopping = True
        self._room.set()

    async def drain(self, seconds: float) -> None:
        """Finish attempts; give up those before their dot after a while, and their leases."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=seconds)
        given_up = [(t, a) for t, a in self._in_hand.items() if not a.dotted]
        for task, _ in given_up:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        units = [unit for _, attempt in given_up for unit in attempt.waiting]
        if not units:
            return
        try:
            await self._database.retry(lambda tx: claim.release(tx, self._owner, units))
        except DatabaseUnavailable as error:
            log.warning("leases are left to end by themselves", error=str(error))

    def _take_in_hand(self, claims: Sequence[Claim]) -> None:
        for item in claims:
            attempt = Attempt(item)
            work = self._end_without(attempt) if item.untried else self._run(attempt)
            task = asyncio.create_task(work)
            self._in_hand[task] = attempt
            self._destinations.take(item.job.domain)
            task.add_done_callback(self._let_go)
        self._count()

    def _let_go(self, task: asyncio.Task[None]) -> None:
        attempt = self._in_hand.pop(task)
        self._destinations.let_go(attempt.claim.job.domain)
        self._count()
        if not task.cancelled() and (error := task.exception()):
            # Its rows come due again when the lease ends: renewal keeps only what is in hand.
            mail_id = attempt.claim.job.header.mail_id
            log.error("attempt failed", mail_id=mail_id, exc_info=error)

    def _count(self) -> None:
        _IN_HAND.set(len(self._in_hand))
        # Slow destinations are bounded by `Admission`, and never hold up the others here.
        if self._stopping or self._destinations.quick_in_hand < self._most:
            self._room.set()
        else:
            self._room.clear()

    async def _run(self, attempt: Attempt) -> None:
        domain = attempt.claim.job.domain
        async with self._lanes.turn(domain) as turn:
            units = attempt.claim.units
            if wait := self._destinations.closed_for(domain, time.monotonic()):
                # What was found out while it waited for its turn is good enough for it.
                turn.skipped = True
                await self._put_offs.do((units, wait))
                return
            for start in range(0, len(units), MOST_RECIPIENTS):
                # What one transaction ended is recorded before the next one begins.
                await self._try(attempt, units[start : start + MOST_RECIPIENTS], turn)

    async def _end_without(self, attempt: Attempt) -> None:
        """Record the fates of what is not to be tried; the others of the claim are due again."""
        fates, units = attempt.claim.untried, attempt.claim.units
        ended = [unit for unit in units if unit.n in fates]
        others = tuple(unit for unit in units if unit.n not in fates)
        if others:
            await self._put_offs.do((others, 0.0))
        await self._finish(attempt, ended, fates, 0.0)

    async def _put_off(self, groups: Sequence[tuple[tuple[Unit, ...], float]]) -> list[None]:
        async def work(transaction: Transaction) -> None:
            for units, seconds in groups:
                await claim.put_off(transaction, self._owner, units, seconds)

        await self._database.retry(work)
        return [None] * len(groups)

    async def _try(self, attempt: Attempt, units: tuple[Unit, ...], turn: Turn) -> None:
        start = time.monotonic()
        header = attempt.claim.job.header
        mail_id = header.mail_id
        try:
            fates = await self._attempter.run(attempt, units, lambda: self._fence(units))
        except FenceLost:
            _STALE.inc(len(units))
            log.warning("taken over", mail_id=mail_id)
            return
        except Exception as error:
            # A fault of ours: tried again, as after a 4yz.
            log.exception("attempt failed", mail_id=mail_id)
            why = deferred("4.3.0", f"a fault of ours: {type(error).__name__}")
            fates = {unit.n: why for unit in units}
        turn.refused = any(fate.general for fate in fates.values())
        took = time.monotonic() - start
        _SECONDS.observe(took)
        record_steps(QUEUE, [(mail_id, header.traceparent)], time.time() - took)
        await self._finish(attempt, units, fates, took)

    async def _fence(self, units: tuple[Unit, ...]) -> None:
        if not await self._fences.do(units):
            raise FenceLost

    async def _check(self, groups: Sequence[tuple[Unit, ...]]) -> list[bool]:
        units = [unit for group in groups for unit in group]
        async with self._database.reading() as transaction:
            ours = await claim.still_ours(transaction, self._owner, units)
        return [set(group) <= ours for group in groups]

    async def _finish(
        self,
        attempt: Attempt,
        units: Sequence[Unit],
        fates: Mapping[int, Fate],
        took: float,
    ) -> None:
        """Record results: first, and at once, all that needs no DSN, then what was relayed.

        Nothing else comes before these two: a dot without a record is a second copy.
        """
        now, item = time.time(), attempt.claim
        results = [self._results.settled(item, unit, fates[unit.n], now) for unit in units]

        async def record(kind: Kind | None) -> None:
            if told := tuple(result for result in results if result.kind is kind):
                report = await self._results.report(item, kind, told, fates, now)
                await self._record(attempt, replace(report, took=took))
                await failpoint("relay.after_record")

        await record(None)
        await record(Kind.RELAYED)
        # All that another host has, is recorded by now.
        attempt.dotted = False
        rest = [r for r in results if r.kind in (Kind.FAILED, Kind.DELAYED)]
        results = await _insist(lambda: self._once(rest))
        for kind in (Kind.FAILED, Kind.DELAYED, None):
            await record(kind)

    async def _once(self, results: list[Settled]) -> list[Settled]:
        """Of a delay the sender is told once."""
        late = [result.unit for result in results if result.kind is Kind.DELAYED]
        if not late:
            return results
        known = await self._told_of_delay(late[0].mail_id)
        return [
            replace(r, kind=None) if r.kind is Kind.DELAYED and r.unit.n in known else r
            for r in results
        ]

    async def _told_of_delay(self, mail_id: str) -> set[int]:
        mine = (effect.c.mail_id == mail_id) & (effect.c.kind == str(Kind.DELAYED))
        async with self._database.reading() as transaction:
            return {row.n for row in await transaction.rows(select(effect.c.n).where(mine))}

    async def _record(self, attempt: Attempt, report: Report) -> None:
        recorded = await _insist(lambda: self._reports.do(report))
        for item in report.results:
            attempt.waiting.remove(item.unit)
            _RESULTS.labels(item.state).inc()
            if item.reason:
                _REFUSALS.labels(item.reason).inc()
            _log(item, stale=item.unit not in recorded)

    async def _settle(self, reports: Sequence[Report]) -> list[set[Unit]]:
        async def work(transaction: Transaction) -> set[Unit]:
            ours = await settle(transaction, self._owner, reports)
            if self._settings.suppress_after:
                seconds = self._settings.suppress_days * 86400
                found = list(_hard_bounces(reports, ours))
                await suppression.note_bounces(transaction, found, time.time(), seconds)
            return ours

        ours = await self._database.retry(work)
        return [ours & {item.unit for item in report.results} for report in reports]


def _hard_bounces(reports: Sequence[Report], ours: set[Unit]) -> Iterator[HardBounce]:
    for report in reports:
        for item in report.results:
            if item.unit in ours and item.state == "bounced" and item.reason in HARD:
                yield HardBounce(report.tenant, item.recipient, str(item.reason), item.why)


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Until it is done: the host has the message, so a failed commit is not the end."""
    while True:
        try:
            return await ask()
        except DatabaseUnavailable as error:
            log.warning("result waits for the database", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


def _log(item: Settled, *, stale: bool) -> None:
    """One line for each recipient and attempt, enough to answer a postmaster."""
    if stale:
        _STALE.inc()
    log.info(
        "result refused: taken over" if stale else item.state,
        mail_id=item.unit.mail_id,
        recipient=item.recipient,
        attempt=item.unit.attempt,
        reason=str(item.reason or ""),
        reply=item.why,
    )
