"""Parking: a job that cannot be done is held for an operator, never dropped."""

from __future__ import annotations

import time

import msgspec
from prometheus_client import Counter

from libs.common.db import Database
from libs.common.db.schema import parked
from libs.common.queue.protocol import Lease
from libs.common.runtime.log import get_logger
from libs.common.trace.trace import TraceRow, write_trace

log = get_logger(__name__)
_PARKED = Counter("holub_queue_parked_total", "Jobs held for an operator.", ["queue"])


class _AnyJob(msgspec.Struct):
    """The mail_id of whatever job it is: on top, or in its record header."""

    mail_id: str = ""
    header: dict[str, object] | None = None


def mail_id_of(body: bytes) -> str:
    """The mail_id that a job names, or the empty string when it cannot be read."""
    try:
        job = msgspec.json.decode(body, type=_AnyJob)
    except msgspec.MsgspecError:
        return ""
    return job.mail_id or str((job.header or {}).get("mail_id", ""))


async def park(database: Database, queue: str, lease: Lease, reason: str) -> None:
    """Commit a row that holds the job; the caller acks the lease after that."""
    mail_id = mail_id_of(lease.body)
    log.error("parked", queue=queue, mail_id=mail_id, reason=reason, attempt=lease.attempt)
    async with database.transaction() as transaction:
        await transaction.insert(
            parked,
            [
                {
                    "queue": queue,
                    "mail_id": mail_id,
                    "body": lease.body,
                    "reason": reason[:2000].replace("\0", ""),
                    "attempts": lease.attempt,
                    "parked_at": time.time(),
                }
            ],
        )
        await write_trace(transaction, [TraceRow(mail_id, queue, "parked", why=reason)])
    _PARKED.labels(queue).inc()
