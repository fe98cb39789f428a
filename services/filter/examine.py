"""Examining one message: the summary and the scanners' verdict, from one read of the record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from libs.common.blobstore.protocol import BlobCorrupt, BlobMissing, BlobStore
from libs.common.jobs import FilterJob, Origin
from libs.common.mailstore.messages import message_row
from libs.common.queue.worker import Poison
from libs.common.runtime.failpoint import failpoint
from libs.protocols.message.summary import summarise
from services.filter.authentication import Authenticator, stronger
from services.filter.budget import OctetBudget
from services.filter.clamd import Clamd, ClamdUnavailable
from services.filter.verdict import NO_SCANNER, OUR_OWN, Conclusion, of_scan, of_unscanned

IN_LOOP_OCTETS = 256 * 1024
"""Content up to this size is summarised on the event loop; a larger one in a thread."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A job with the row that says what was found."""

    job: FilterJob
    row: dict[str, Any]
    size: int


class RecordGone(Exception):
    """The store has no such record: perhaps not yet, perhaps the wrong bucket; never dropped."""


class Examiner:
    """Examines messages with the scanners that there are."""

    def __init__(
        self,
        blobs: BlobStore,
        clamd: Clamd | None,
        unscanned: str,
        budget: OctetBudget,
        authenticator: Authenticator | None = None,
    ) -> None:
        self._blobs = blobs
        self._clamd = clamd
        self._unscanned = unscanned
        self._budget = budget
        self._authenticator = authenticator

    async def examine(self, job: FilterJob) -> Examined:
        """Read, scan, summarise.

        Raises `ClamdUnavailable` when it must wait for a scanner, `BlobError` when the store does
        not answer, `RecordGone`, and `Poison` when the record is damaged.
        """
        async with self._budget.hold(job.blob.length):
            return await self._examine(job)

    async def _examine(self, job: FilterJob) -> Examined:
        try:
            record = await self._blobs.read(job.blob)
        except BlobCorrupt as error:
            # Never served as good, never dropped: an operator must look at the disk.
            raise Poison(f"{job.header.mail_id}: {error}") from error
        except BlobMissing as error:
            raise RecordGone(f"{job.header.mail_id}: {error}") from error
        content = record.content
        await failpoint("filter.before_scan")
        conclusion = await self._conclude(job, content)
        if self._authenticator is not None and self._authenticator.wanted(job):
            found = await self._authenticator.check(job.header, content)
            conclusion = stronger(conclusion, self._authenticator.conclude(found, job.header))
        await failpoint("filter.after_scan")
        if len(content) <= IN_LOOP_OCTETS:
            summary = summarise(content)
        else:
            summary = await asyncio.to_thread(summarise, content)
        row = message_row(
            job.header,
            job.blob,
            len(content),
            record.sha256,
            summary,
            verdict=conclusion.verdict,
            verdict_text=conclusion.text,
            prefix=conclusion.prefix,
        )
        return Examined(job, row, len(content))

    async def _conclude(self, job: FilterJob, content: bytes) -> Conclusion:
        if job.header.origin is Origin.DSN:
            # It quotes a header at most, and whoever waits for it must learn of the failure.
            return OUR_OWN
        if self._clamd is None:
            return NO_SCANNER
        try:
            return of_scan(await self._clamd.scan(content), self._unscanned)
        except ClamdUnavailable as error:
            if self._unscanned == "accept-and-mark":
                return of_unscanned(str(error), self._unscanned)
            raise
