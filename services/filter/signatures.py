"""clamd's signatures: how old they are (a metric), and a re-scan when they are new ones."""

from __future__ import annotations

import asyncio
import calendar
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Gauge
from sqlalchemy import delete, select

from libs.common.admin.rescan import insert_run
from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.schema import routine
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from services.filter.clamd import Clamd

log = get_logger(__name__)
_MADE_AT = Gauge(
    "holub_filter_clamd_database_timestamp_seconds",
    "When the signatures of a clamd were made; 0: it does not say.",
    ["daemon"],
)
LOOK_SECONDS = 60.0
_ANSWER = re.compile(r"ClamAV [^/]*/(\d+)/(.+)")
_PREFIX = "clamd database "


@dataclass(frozen=True, slots=True)
class Signatures:
    """What clamd says of its `daily` database."""

    number: int
    made_at: float
    """Seconds since the epoch."""


def read_version(answer: str) -> Signatures | None:
    """Of `ClamAV 1.4.3/27450/Mon Nov 23 08:00:00 2026`; None: it has no daily database.

    The time is that of the daemon's zone, which containers leave at UTC.
    """
    match = _ANSWER.fullmatch(answer.strip())
    if match is None:
        return None
    try:
        made = time.strptime(match[2], "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return Signatures(int(match[1]), float(calendar.timegm(made)))


async def watch_signatures(database: Database, clamd: Clamd, rescan_hours: float) -> None:
    """Look every minute, for ever."""
    while True:
        with survive(log, "signatures are looked at later", DatabaseUnavailable):
            found = {url: read_version(text) for url, text in (await clamd.versions()).items()}
            _show(found)
            numbers = [one.number for one in found.values() if one]
            if rescan_hours and numbers:
                # All of them have it: none scans with older ones any more.
                await begin_when_new(database, min(numbers), rescan_hours, time.time())
        await asyncio.sleep(LOOK_SECONDS)


def _show(found: Mapping[str, Signatures | None]) -> None:
    for url, one in found.items():
        _MADE_AT.labels(url).set(one.made_at if one else 0)


async def begin_when_new(database: Database, number: int, hours: float, now: float) -> bool:
    """Begin a re-scan once for each new database of signatures, by one process of all.

    The first one that is ever seen is not new.
    """

    async def work(transaction: Transaction) -> bool:
        if not await _is_due(transaction, number, now):
            return False
        reason = f"{_PREFIX}{number}"
        await insert_run(transaction, now - hours * 3600, now, reason=reason)
        return True

    return await database.retry(work)


async def _is_due(transaction: Transaction, number: int, now: float) -> bool:
    query = select(routine.c.name).where(routine.c.name.startswith(_PREFIX))
    names = [row.name for row in await transaction.rows(query)]
    seen = {int(name.removeprefix(_PREFIX)) for name in names}
    if number <= max(seen, default=0):
        return False
    row = {"name": f"{_PREFIX}{number}", "begun_at": now}
    if not await transaction.insert_new(routine, [row], ("name",)):
        return False  # another process was first
    await transaction.execute(delete(routine).where(routine.c.name.in_(names)))
    return bool(names)
