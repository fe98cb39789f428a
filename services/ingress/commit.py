"""The commit: from the final dot to the reply, within one deadline of 28 seconds.

1. The record is put: durable, and ours from here.  Fails: 451, and nothing was promised.
2. The filter job is put.  Fails: a row in the outbox; fails too: the segment alone, which is
   put later from here or by the sweeper.  Only the bound on those turns into 451, before
   anything is stored.
3. The verdict is awaited.  Late: 250, and the verdict acts on its own.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import Histogram

from libs.common.blobstore.protocol import BlobError, BlobRef, BlobStore, Spool
from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.schema import outbox
from libs.common.jobs import FilterJob, RecordHeader, Verdict, VerdictReply, encode
from libs.common.jobs.record import encode_header
from libs.common.queue.protocol import Queue, QueueError
from libs.common.runtime.failpoint import failpoint
from libs.common.runtime.log import get_logger
from libs.common.runtime.patience import Patience
from libs.common.runtime.survive import survive
from libs.protocols.smtp.reply import LOCAL_ERROR, Refusal, Reply
from services.ingress.breaker import Breaker
from services.ingress.settings import IngressSettings
from services.ingress.unpublished import Unpublished
from services.ingress.verdicts import Verdicts

log = get_logger(__name__)
_SECONDS = Histogram("holub_ingress_commit_seconds", "From the final dot to the reply.")
DEADLINE_SECONDS = 28.0
FULL = Reply(451, "4.3.1", "too much mail waits here for our queue; please try again later")


class Commit:
    """Makes messages ours; shared by all sessions of the process."""

    def __init__(
        self,
        blobs: BlobStore,
        queue: Queue,
        database: Database,
        verdicts: Verdicts,
        unpublished: Unpublished,
        settings: IngressSettings,
    ) -> None:
        self._blobs = blobs
        self._queue = queue
        self._database = database
        self._verdicts = verdicts
        self._unpublished = unpublished
        self._settings = settings
        self._breaker = Breaker()
        self._publishing = Patience(settings.publish_seconds)
        self._waiting = Patience(settings.verdict_seconds)

    async def run(self, header: RecordHeader, content: bytes | Spool) -> Reply:
        """The reply to the final dot.  Run it in a task that nothing cancels."""
        start = time.monotonic()
        try:
            if self._unpublished.full:
                raise Refusal(FULL)
            ref = await self._store(header, content)
        except Refusal as refusal:
            return refusal.reply
        reply = await self._hand_over(header, ref, start)
        _SECONDS.observe(time.monotonic() - start)
        return reply

    async def _store(self, header: RecordHeader, content: bytes | Spool) -> BlobRef:
        await failpoint("ingress.before_put")
        try:
            ref = await self._blobs.put(encode_header(header), content, key=header.mail_id)
        except BlobError as error:
            log.error("not stored", mail_id=header.mail_id, error=str(error))
            raise Refusal(LOCAL_ERROR) from error
        await failpoint("ingress.after_put")
        return ref

    async def _hand_over(self, header: RecordHeader, ref: BlobRef, start: float) -> Reply:
        """Whatever happens here, the message is stored: the answer is 250 or 550."""
        accepted = Reply(250, "2.0.0", f"queued as {header.mail_id}")
        waits = self._settings.verdict_seconds > 0
        future = self._verdicts.expect(header.mail_id) if waits else None
        try:
            reply_to = self._verdicts.address if waits else ""
            put = await self._publish(header, FilterJob(ref, header, reply_to))
            if future is None or not put:
                return accepted
            verdict = await self._wait(future, start)
        except TimeoutError:
            log.info("verdict is late", mail_id=header.mail_id)
            return accepted
        finally:
            self._verdicts.forget(header.mail_id)
        if verdict.verdict is not Verdict.REJECT:
            return accepted
        # The verdict holds for each recipient, so the one reply of SMTP may say it, and LMTP
        # says it for each of them.
        self._verdicts.refused(header.mail_id, verdict.text)
        return Reply(550, "5.7.1", f"{verdict.text} ({header.mail_id})")

    async def _wait(self, future: asyncio.Future[VerdictReply], start: float) -> VerdictReply:
        """The verdict; `TimeoutError` after the limit, or when the time for all is over."""
        left = start + DEADLINE_SECONDS - time.monotonic()
        if left >= self._waiting.seconds:
            return await self._waiting.within(future)
        async with asyncio.timeout(max(left, 0.01)):
            return await future

    async def _publish(self, header: RecordHeader, job: FilterJob) -> bool:
        """True when the job is on the queue now."""
        body = encode(job)
        if self._breaker.allows():
            put = False
            # It is stored: whatever goes wrong here may not become a 451.
            with survive(log.bind(mail_id=header.mail_id), "job not put", QueueError, TimeoutError):
                await self._publishing.within(self._queue.put("filter", [body]))
                put = True
            if put:
                self._breaker.succeeded()
                await failpoint("ingress.after_publish")
                return True
            self._breaker.failed()
        await self._to_outbox(header, job)
        return False

    async def _to_outbox(self, header: RecordHeader, job: FilterJob) -> None:
        row = {
            "key": f"filter:{header.mail_id}",
            "queue": "filter",
            "mail_id": header.mail_id,
            "body": encode(FilterJob(job.blob, job.header)),
            "created_at": time.time(),
        }
        mine, kept = log.bind(mail_id=header.mail_id), False
        with survive(mine, "segment only", DatabaseUnavailable, TimeoutError):
            async with asyncio.timeout(self._settings.publish_seconds):
                async with self._database.transaction() as transaction:
                    await transaction.insert(outbox, [row], ignore=True)
            kept = True
        if not kept:
            self._unpublished.add(FilterJob(job.blob, header))
