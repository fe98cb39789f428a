"""Going through delivered mail again, below the live traffic."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from prometheus_client import Counter
from sqlalchemy import select

from libs.common.blobstore.protocol import BlobCorrupt, BlobError, BlobMissing, BlobRef
from libs.common.db import DatabaseUnavailable
from libs.common.db.schema import message
from libs.common.jobs import FilterJob
from libs.common.jobs.record import decode_header
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from services.filter.budget import OctetBudget
from services.filter.clamd import ScanFailed
from services.filter.fault import EngineFailed, Unavailable
from services.filter.judge import Judge
from services.filter.rescan.act import Judged, act
from services.filter.rescan.run import Run, RunLost, claim, finish, note, upcoming
from services.filter.verdict import Conclusion
from services.platform import Platform

log = get_logger(__name__)
_SEEN = Counter("holub_filter_rescanned_total", "Delivered messages checked again.", ["result"])
STEP = 8
"""Messages that are judged at the same time and committed together."""
LOOK_SECONDS = 2.0
"""Between two looks whether there is a run."""
_QUIET_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0
"""Under live traffic without a pause, one step in this time."""
_REST_SECONDS = 5.0


class Rescanner:
    """Works on one run at a time; every process of filter may, each run is with one of them."""

    def __init__(
        self,
        platform: Platform,
        judge: Judge,
        budget: OctetBudget,
        busy_at: Callable[[], float],
        per_second: float,
    ) -> None:
        self._platform = platform
        self._judge = judge
        self._budget = budget
        self._busy_at = busy_at
        self._per_second = per_second
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{id(self)}"

    async def run(self) -> None:
        """Look for runs for ever; what goes wrong is tried again, from the cursor."""
        database = self._platform.database
        while True:
            with survive(log, "the re-scan waits", DatabaseUnavailable, BlobError):
                if run := await claim(database, self._owner, time.time()):
                    await self._go_on(run)
            await asyncio.sleep(LOOK_SECONDS)

    async def _go_on(self, run: Run) -> None:
        if not self._judge.engines:
            await note(self._platform.database, run, "filter has neither scanner nor spam engine")
            await asyncio.sleep(_REST_SECONDS)
            return
        log.info("re-scan", id=run.id, reason=run.reason, after=run.cursor)
        try:
            while rows := await upcoming(self._platform.database, run, STEP):
                start = time.monotonic()
                run = await self._step(run, rows)
                await asyncio.sleep(start + len(rows) / self._per_second - time.monotonic())
        except Unavailable as error:
            await note(self._platform.database, run, f"waits for an engine: {error}")
            await asyncio.sleep(_REST_SECONDS)
        except RunLost:
            log.info("re-scan is stopped, or with another process", id=run.id)
        else:
            await finish(self._platform.database, run, time.time())

    async def _step(self, run: Run, rows: Sequence[Any]) -> Run:
        """Judge some messages, do what follows; the run with its new cursor."""
        await self._quiet()
        judged = [Judged(row, await self._judged(row)) for row in rows]
        await failpoint("rescan.judged")
        changed = await self._platform.database.retry(
            lambda transaction: act(transaction, run, self._owner, judged)
        )
        await failpoint("rescan.committed")
        await self._platform.mailstore().announce(changed)
        for item in judged:
            verdict = item.conclusion.verdict.value if item.conclusion else "failed"
            _SEEN.labels(verdict).inc()
        return replace(run, cursor=rows[-1].mail_id)

    async def _judged(self, row: Any) -> Conclusion | None:
        """What the engines say; None when they, or the store, fail on just this message."""
        async with self._budget.hold(row.record_length):
            try:
                job, content = await self._read(row)
                return await self._judge.again(job, content)
            except (BlobMissing, BlobCorrupt, ScanFailed, EngineFailed) as error:
                log.warning("not checked again", mail_id=row.mail_id, error=str(error))
                return None

    async def _read(self, row: Any) -> tuple[FilterJob, bytes]:
        ref = BlobRef(row.segment, row.record_offset, row.record_length)
        try:
            record = await self._platform.blobs.read(ref)
        except BlobMissing:
            # Compaction may have moved it since the row was read (rule 10).
            ref = await self._place(row.mail_id)
            record = await self._platform.blobs.read(ref)
        try:
            header = decode_header(record.header)
        except msgspec.MsgspecError as error:
            raise BlobCorrupt(f"{row.mail_id}: its header is not one of ours") from error
        return FilterJob(ref, header), record.content

    async def _place(self, mail_id: str) -> BlobRef:
        query = select(message.c.segment, message.c.record_offset, message.c.record_length)
        async with self._platform.database.reading() as transaction:
            row = await transaction.one_or_none(query.where(message.c.mail_id == mail_id))
        if row is None:
            raise BlobMissing(f"message {mail_id} is gone")
        return BlobRef(*row)

    async def _quiet(self) -> None:
        """Return when no mail came for a moment, or after some seconds."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while (now := time.monotonic()) - self._busy_at() < _QUIET_SECONDS and now < end:
            await asyncio.sleep(_QUIET_SECONDS)
