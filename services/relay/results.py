"""From fates to what is recorded: states, times of next attempts, and a DSN when one is due."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from libs.common.blobstore.protocol import BlobStore
from libs.common.jobs import FilterJob, RecordHeader, RelayJob, encode
from libs.common.jobs.record import encode_header
from libs.common.runtime.log import get_logger
from libs.protocols.smtp.refusal_class import RefusalClass, classify
from services.relay import bounce, schedule
from services.relay.bounce import Kind, Notice
from services.relay.claim import Claim, Unit
from services.relay.fate import Fate, Result
from services.relay.outgoing import split_head
from services.relay.settings import RelaySettings
from services.relay.settle import Report, Settled

log = get_logger(__name__)
RETURNED_OCTETS = 65_536
"""Octets of the original that are looked at for its header section."""

SUCCESS_SECONDS = 5.0
"""For the DSN of success.  The other host has the message: as long as that is not recorded, our
death makes a second copy."""


def _reason(fate: Fate) -> RefusalClass:
    # What we say ourselves may quote anybody: of that the status counts alone.
    return classify(fate.status, fate.text if fate.host else "")


class Results:
    """Decides what fates mean, and stores the DSNs that they need."""

    def __init__(self, blobs: BlobStore, settings: RelaySettings) -> None:
        self._blobs = blobs
        self._settings = settings

    def settled(self, claim: Claim, unit: Unit, fate: Fate, now: float) -> Settled:
        """One recipient; `kind` is set when a DSN must tell of it."""
        found = self._settled(claim, unit, fate, now)
        return found if found.state == "relayed" else replace(found, reason=_reason(fate))

    def _settled(self, claim: Claim, unit: Unit, fate: Fate, now: float) -> Settled:
        recipient, header = claim.recipient(unit.n), claim.job.header
        if fate.result is Result.RELAYED:
            asked = not fate.reports and bounce.wants_success(header, recipient)
            kind = Kind.RELAYED if asked else None
            return Settled(unit, recipient.address, "relayed", fate.why, kind=kind)
        if fate.result is Result.DEFERRED:
            at = self._next(claim, unit, now)
            if at is not None:
                late = self._late(header, now) and bounce.wants_delay(header, recipient)
                kind = Kind.DELAYED if late else None
                return Settled(unit, recipient.address, "deferred", fate.why, at, kind=kind)
        match bounce.whom_to_tell(header, recipient):
            case Notice.SENDER:
                return Settled(unit, recipient.address, "bounced", fate.why, kind=Kind.FAILED)
            case Notice.NOBODY:
                why = f"{fate.why} (the sender asked for no DSN)"
                return Settled(unit, recipient.address, "bounced", why)
            case Notice.OPERATOR:
                why = f"{fate.why} (no DSN: the sender is not known to us)"
                return Settled(unit, recipient.address, "quarantined", why)

    def _late(self, header: RecordHeader, now: float) -> bool:
        patience = self._settings.delay_notice_seconds
        return 0 < patience <= now - header.received_at

    def _next(self, claim: Claim, unit: Unit, now: float) -> float | None:
        return schedule.next_attempt(
            claim.job.header.received_at,
            unit.attempt,
            now,
            random.random(),
            delays=self._settings.delays,
            lifetime=self._settings.lifetime_seconds,
        )

    async def report(
        self,
        claim: Claim,
        kind: Kind | None,
        items: Sequence[Settled],
        fates: Mapping[int, Fate],
        now: float,
    ) -> Report:
        """The report on recipients of one kind, with the DSN for their sender stored.

        No bounce without its DSN: when that cannot be made, the recipients are deferred, fail
        again, and it is made then.  Success is success without it, and does not wait long for it;
        of a delay the next one tells.
        """
        header = claim.job.header
        if kind is None:
            return Report(tuple(items), header.tenant)
        try:
            async with asyncio.timeout(SUCCESS_SECONDS if kind is Kind.RELAYED else None):
                child, job = await self._store(claim, kind, items, fates, now)
        except Exception:
            log.exception("no report for the sender", mail_id=header.mail_id, kind=kind)
            if kind is Kind.FAILED:
                at = now + self._settings.delays[0]
                items = [replace(i, state="deferred", next_attempt_at=at) for i in items]
            return Report(tuple(items), header.tenant)
        told = tuple(replace(item, child=child) for item in items)
        return Report(told, header.tenant, dsn=job, child=child)

    async def _store(
        self,
        claim: Claim,
        kind: Kind,
        items: Sequence[Settled],
        fates: Mapping[int, Fate],
        now: float,
    ) -> tuple[str, bytes]:
        parent, hostname = claim.job.header, self._settings.hostname
        ns = [item.unit.n for item in items]
        child = bounce.child_id(parent.mail_id, ns, kind)
        content = bounce.report(
            parent,
            [(claim.recipient(n), self._final(fates[n], kind)) for n in ns],
            kind=kind,
            retry_until=parent.received_at + self._settings.lifetime_seconds,
            child=child,
            hostname=hostname,
            now=now,
            original_header=await self._original_header(claim.job),
        )
        header = bounce.dsn_header(parent, child, hostname, now)
        ref = await self._blobs.put(encode_header(header), content, key=child)
        return child, encode(FilterJob(ref, header))

    def _final(self, fate: Fate, kind: Kind) -> Fate:
        if kind is not Kind.FAILED or fate.result is Result.BOUNCED:
            return fate
        days = self._settings.lifetime_seconds / 86400
        return replace(fate, text=f"{fate.text}\nNot delivered within {days:g} days.")

    async def _original_header(self, job: RelayJob) -> bytes:
        first = await self._blobs.read_range(job.blob, 0, min(job.size, RETURNED_OCTETS))
        return split_head(first)[0]
