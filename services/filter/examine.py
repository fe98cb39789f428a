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
from libs.common.senderauth.results import claims
from libs.protocols.message.summary import summarise
from services.filter.budget import OctetBudget
from services.filter.judge import Judge

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
    """Examines messages with the engines that there are."""

    def __init__(self, blobs: BlobStore, judge: Judge, budget: OctetBudget) -> None:
        self._blobs = blobs
        self._judge = judge
        self._budget = budget

    async def examine(self, job: FilterJob) -> Examined:
        """Read, scan, summarise.

        Raises `Unavailable` when it must wait for an engine, `BlobError` when the store does
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
        conclusion = await self._judge.conclude(job, content)
        await failpoint("filter.after_scan")
        if len(content) <= IN_LOOP_OCTETS:
            summary = summarise(content)
        else:
            summary = await asyncio.to_thread(summarise, content)
        forged: list[int] = []
        if job.header.origin is not Origin.DSN:
            forged = claims(content[: summary.header_size], job.header.hostname)
        row = message_row(
            job.header,
            job.blob,
            len(content),
            record.sha256,
            summary,
            verdict=conclusion.verdict,
            verdict_text=conclusion.text,
            prefix=conclusion.prefix,
            disguised=forged,
        )
        return Examined(job, row, len(content))
