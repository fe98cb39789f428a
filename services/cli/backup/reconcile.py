"""After a restore: what the segments hold and no row knows comes back, and nothing is silent.

The same as the sweeper does (`services.storage.sweeper`), at once, for any age, and with a report.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import func, select, text

from libs.common.blobstore.protocol import BlobError, BlobStore, IndexEntry
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, alias, deferred, domain, outbox
from libs.common.jobs import FilterJob, Origin, Recipient, RecordHeader, encode
from libs.common.jobs.record import decode_header
from libs.common.mailstore.folders import MAX_MAILBOXES
from libs.common.mailstore.saved import saved_again
from libs.common.trace import TraceRow, accounted, caused, write_trace
from services.cli.backup.progress import Progress

LIFETIME = 6 * 86400.0
"""Seconds: what was accepted before that has its end, wherever it was under way."""
_CHUNK = 500
_ACCOUNTS = 5000
_HOUR = 3600.0
# A message is stored before its row is committed, and clocks differ.
_UNSURE = 60.0


class MaybeTwice(msgspec.Struct, frozen=True):
    """A recipient who may get a second copy, from another host or from us through one."""

    mail_id: str
    n: int
    recipient: str
    received_at: float
    why: str


class Report(msgspec.Struct):
    """What a restore did beside loading."""

    since: float
    """Seconds since the epoch: the moment that the database is of."""
    put_again: int = 0
    """Messages that are delivered again, because no row knew what became of them."""
    notices_again: int = 0
    """DSNs of which the same is true."""
    saved_again: int = 0
    """Messages that clients had saved (APPEND), now in the mailbox `Restored` of their account."""
    lost_saves: list[str] = []
    """mail_ids of such whose account is not there."""
    maybe_twice: list[MaybeTwice] = []
    unreadable: list[str] = []
    """Segments that rows refer to and that are not there, or records that do not match."""


class _Routes:
    """Where addresses lead, as far as this database says."""

    def __init__(self, domains: set[str], forwards: set[str]) -> None:
        self._domains = domains
        self._forwards = forwards

    def leaves(self, address: str) -> str:
        """How mail for this address leaves the platform; empty when it stays."""
        if address.rpartition("@")[2].lower() not in self._domains:
            return "relayed"
        return "forwarded by an alias" if address.lower() in self._forwards else ""


class Reconcile:
    """One pass over the records since the moment that the database is of."""

    def __init__(
        self, database: Database, blobs: BlobStore, since: float, progress: Progress
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._progress = progress
        self.report = Report(since)

    async def run(self) -> Report:
        """Put again, save again, and list; roles must not be at work meanwhile."""
        async with self._database.reading() as transaction:
            routes = await _routes(transaction)
            self.report.maybe_twice += await _waiting(transaction)
        seen = 0
        async for entries in self._entries():
            await self._settle(entries, routes)
            seen += len(entries)
            self._progress.step(f"records: {seen:,} looked at, {self.report.put_again:,} put again")
        return self.report

    async def _entries(self) -> AsyncIterator[list[tuple[IndexEntry, RecordHeader]]]:
        oldest = datetime.fromtimestamp(self.report.since - LIFETIME - _HOUR, UTC)
        for hour in await self._blobs.hours():
            if hour < oldest:
                continue
            chunk = []
            async for entry in self._blobs.index(hour):
                chunk.append((entry, decode_header(entry.header)))
                if len(chunk) == _CHUNK:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk

    async def _settle(
        self, entries: Sequence[tuple[IndexEntry, RecordHeader]], routes: _Routes
    ) -> None:
        ids = [header.mail_id for _, header in entries]
        async with self._database.transaction() as transaction:
            found = await accounted(transaction, ids)
            notices = await caused(transaction, ids)
            lost = []
            for entry, header in entries:
                mail_id = header.mail_id
                left = [r for r in header.envelope.recipients if not found.have(mail_id, r.n)]
                if not left or not _swept(header, notices):
                    continue
                lost.append((entry, header))
                self._count(header, left, routes)
            await _put(transaction, lost)
        await self._save_again(entries)

    def _count(self, header: RecordHeader, left: Sequence[Recipient], routes: _Routes) -> None:
        if header.origin is Origin.DSN:
            self.report.notices_again += 1
        else:
            self.report.put_again += 1
        when = "accepted after" if header.received_at >= self.report.since else "under way at"
        for recipient in left:
            if how := routes.leaves(recipient.address):
                self.report.maybe_twice.append(
                    MaybeTwice(
                        header.mail_id,
                        recipient.n,
                        recipient.address,
                        header.received_at,
                        f"{when} the time of the backup, and {how}",
                    )
                )

    async def _save_again(self, entries: Sequence[tuple[IndexEntry, RecordHeader]]) -> None:
        """What clients appended since has no recipient: it goes to a mailbox of its owner."""
        for entry, header in entries:
            if header.origin is not Origin.IMAP or header.received_at < self.report.since - _UNSURE:
                continue
            try:
                kept = await saved_again(self._database, self._blobs, entry.ref, header)
            except BlobError as error:
                self.report.unreadable.append(f"{entry.ref.segment} at {entry.ref.offset}: {error}")
                continue
            if kept is None:
                self.report.lost_saves.append(header.mail_id)
            self.report.saved_again += bool(kept)


def _swept(header: RecordHeader, notices: set[str]) -> bool:
    if header.origin in (Origin.SMTP, Origin.API):
        return True
    # A DSN is driven by the row that made it; without one it is made again by its cause.
    return header.origin is Origin.DSN and header.mail_id in notices


async def _routes(transaction: Transaction) -> _Routes:
    domains = {row.name for row in await transaction.rows(select(domain.c.name))}
    pairs = await transaction.rows(select(alias.c.address, alias.c.target))
    away = {p.address for p in pairs if p.target.rpartition("@")[2].lower() not in domains}
    return _Routes(domains, away)


async def _waiting(transaction: Transaction) -> list[MaybeTwice]:
    """Recipients that waited for an attempt then: it may have been made since."""
    query = select(
        deferred.c.mail_id, deferred.c.n, deferred.c.recipient, deferred.c.received_at
    ).order_by(deferred.c.mail_id, deferred.c.n)
    why = "waiting for an attempt at the time of the backup"
    return [
        MaybeTwice(row.mail_id, row.n, row.recipient, row.received_at, why)
        for row in await transaction.rows(query)
    ]


async def _put(transaction: Transaction, lost: Sequence[tuple[IndexEntry, RecordHeader]]) -> None:
    """By the outbox, which storage empties as soon as it runs."""
    now = time.time()
    await transaction.insert(
        outbox,
        [
            {
                "key": f"restored:{header.mail_id}",
                "queue": "filter",
                "mail_id": header.mail_id,
                "body": encode(FilterJob(entry.ref, header, swept=1)),
                "created_at": now,
            }
            for entry, header in lost
        ],
        ignore=True,
    )
    why = "no row of the restored database had it"
    await write_trace(
        transaction,
        [TraceRow(header.mail_id, "storage", "restored", why=why, at=now) for _, header in lost],
    )


_MAILBOXES = text("""
    UPDATE mailbox SET uidvalidity = :base + (
           SELECT COUNT(*) FROM mailbox o WHERE o.account_id = mailbox.account_id
              AND o.id < mailbox.id)
     WHERE account_id BETWEEN :first AND :last""")
_ACCOUNT = text("""
    UPDATE account SET next_uidvalidity = :base + (
           SELECT COUNT(*) FROM mailbox o WHERE o.account_id = account.id)
     WHERE id BETWEEN :first AND :last""")


async def renew_uidvalidity(database: Database) -> None:
    """Every mailbox gets a UIDVALIDITY that it never had (RFC 9051 §2.3.1.1).

    UIDs that were given after the backup will be given again, to other messages.  Values are
    counted up in each account from the seconds of its making, so these are above all that were
    given until now, also where many mailboxes were made since.
    """
    async with database.reading() as transaction:
        highest = await transaction.scalar(select(func.max(account.c.id))) or 0
        used = await transaction.scalar(select(func.max(account.c.next_uidvalidity))) or 0
    base = max(int(time.time()), used + MAX_MAILBOXES)
    for first in range(0, highest + 1, _ACCOUNTS):
        given = {"base": base, "first": first, "last": first + _ACCOUNTS - 1}
        async with database.transaction() as transaction:
            await transaction.execute(_MAILBOXES, given)
            await transaction.execute(_ACCOUNT, given)
