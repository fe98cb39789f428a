"""Teaching the spam engines what owners want and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select

from libs.common.blobstore.protocol import BlobCorrupt, BlobMissing, BlobRef
from libs.common.db.bulk import in_list
from libs.common.db.schema import account, message
from libs.common.jobs import LearnJob, decode
from libs.common.queue.protocol import Lease
from libs.common.runtime.log import get_logger
from services.filter.engine import Engine
from services.filter.fault import EngineFailed
from services.platform import Platform

log = get_logger(__name__)
QUEUE = "learn"
_LEARNED = Counter("holub_filter_learned_total", "Lessons.", ["engine", "result"])


class Learner:
    """Handles learn jobs; `Unavailable` rises, so that they wait for an engine that is away."""

    def __init__(self, platform: Platform, engines: Sequence[Engine], max_octets: int) -> None:
        self._database = platform.database
        self._blobs = platform.blobs
        self._engines = engines
        self._max_octets = max_octets

    async def handle(self, leases: Sequence[Lease]) -> None:
        """Teach; what engines do not take, and mail that is gone, is let go."""
        jobs = [decode(lease.body, LearnJob) for lease in leases]
        if not self._engines:
            return
        messages, owners = await self._look_up(jobs)
        for job in jobs:
            row, owner = messages.get(job.mail_id), owners.get(job.account)
            # Whose message it is was checked when it was moved; both may be gone since.
            if row is not None and owner is not None and row.size <= self._max_octets:
                await self._teach(job, row, owner)

    async def _look_up(self, jobs: Sequence[LearnJob]) -> tuple[dict[str, Any], dict[int, str]]:
        columns = (message.c.segment, message.c.record_offset, message.c.record_length)
        dialect = self._database.dialect
        wanted = in_list(message.c.mail_id, sorted({job.mail_id for job in jobs}), dialect)
        owned = in_list(account.c.id, sorted({job.account for job in jobs}), dialect)
        async with self._database.reading() as transaction:
            query = select(message.c.mail_id, message.c.size, *columns).where(wanted)
            rows = {row.mail_id: row for row in await transaction.rows(query)}
            people = await transaction.rows(select(account.c.id, account.c.address).where(owned))
        return rows, {row.id: row.address for row in people}

    async def _teach(self, job: LearnJob, row: Any, owner: str) -> None:
        try:
            ref = BlobRef(row.segment, row.record_offset, row.record_length)
            content = (await self._blobs.read(ref)).content
        except (BlobMissing, BlobCorrupt) as error:
            log.warning("not learned", mail_id=job.mail_id, error=str(error))
            return
        for engine in self._engines:
            try:
                await engine.learn(content, spam=job.spam, owner=owner)
            except EngineFailed as error:
                log.warning("not learned", mail_id=job.mail_id, error=str(error))
                _LEARNED.labels(engine.name, "failed").inc()
            else:
                _LEARNED.labels(engine.name, "spam" if job.spam else "ham").inc()
