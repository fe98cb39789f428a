"""Garbage collection in tests: mail on its whole way, by hand, and what must be there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, select, update

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobRef, BlobStore
from libs.common.db import Database
from libs.common.db.schema import (
    deferred,
    garbage,
    message,
    outcome,
    parked,
    quarantine,
    recoverable,
)
from libs.common.garbage import Collector, Pass, Rules
from libs.common.jobs import (
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    RecordHeader,
    RelayJob,
    StorageJob,
    Target,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.mailstore import AppendItem, Flag, MailStore
from libs.common.mailstore.messages import message_row
from libs.common.mailstore.recover import expire
from libs.common.queue.protocol import Queue
from libs.protocols.message.summary import summarise
from services.storage.commit import commit

DAY = 86400.0
RULES = Rules(7 * DAY, DAY, 30 * DAY, 0.5)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that is on its way."""

    header: RecordHeader
    ref: BlobRef
    content: bytes

    @property
    def mail_id(self) -> str:
        return self.header.mail_id


@dataclass(slots=True)
class World:
    """The stores, one account, and a clock that runs ahead."""

    database: Database
    url: str
    """Of the blob store."""
    blobs: BlobStore
    queue: Queue
    account: int
    ahead: float = 0.0
    serial: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    """All that was ever stored, by SHA-256."""

    @property
    def store(self) -> MailStore:
        return MailStore(self.database, self.blobs, self.queue)

    async def reopen(self) -> None:
        """What is stored from now on lies in other segments, as it would days later."""
        await self.blobs.close()
        self.blobs = open_blobstore(self.url)

    def content(self, size: int = 2000) -> bytes:
        self.serial += 1
        head = b"From: ann@other.test\r\nSubject: number %d\r\n\r\n" % self.serial
        made = head + b"x" * (size - len(head) - 2) + b"\r\n"
        self.contents[hashlib.sha256(made).hexdigest()] = made
        return made

    async def accept(self, origin: Origin = Origin.SMTP, recipients: int = 1) -> Mail:
        """What ingress does until its 250."""
        envelope = Envelope(
            "ann@other.test", tuple(Recipient(n, f"r{n}@example.test") for n in range(recipients))
        )
        header = RecordHeader(new_mail_id(), time.time(), envelope, origin)
        content = self.content()
        ref = await self.blobs.put(encode_header(header), content, key=header.mail_id)
        return Mail(header, ref, content)

    async def filter(self, mail: Mail) -> None:
        digest = hashlib.sha256(mail.content).digest()
        summary = summarise(mail.content)
        row = message_row(mail.header, mail.ref, len(mail.content), digest, summary)
        async with self.database.transaction() as transaction:
            await transaction.insert(message, [row], ignore=True)

    async def deliver(self, mail: Mail, mailbox: str = "INBOX") -> None:
        """What storage does with every recipient."""
        ns = tuple(r.n for r in mail.header.envelope.recipients)
        job = StorageJob(
            mail.mail_id,
            mail.header.received_at,
            len(mail.content),
            (Target(self.account, ns, mailbox),),
            tuple((r.n, r.address) for r in mail.header.envelope.recipients),
        )
        async with self.database.transaction() as transaction:
            await commit(transaction, [job])

    async def end(self, mail: Mail, state: str, n: int = 0) -> None:
        row = {"mail_id": mail.mail_id, "n": n, "recipient": "", "state": state, "at": time.time()}
        async with self.database.transaction() as transaction:
            await transaction.insert(outcome, [row])

    async def hold(self, mail: Mail) -> None:
        """Quarantine it, as filter does."""
        await self.end(mail, "quarantined")
        row = {
            "mail_id": mail.mail_id,
            "n": 0,
            "tenant_id": 1,
            "recipient": "r0@example.test",
            "reason": "",
            "created_at": time.time(),
        }
        async with self.database.transaction() as transaction:
            await transaction.insert(quarantine, [row])

    async def drop_held(self, mail_id: str) -> None:
        async with self.database.transaction() as transaction:
            await transaction.execute(delete(quarantine).where(quarantine.c.mail_id == mail_id))

    async def forward(self, mail: Mail) -> str:
        """Delivery hands it on under another name; the child's `mail_id`."""
        await self.end(mail, "forwarded")
        child = new_mail_id()
        header = RecordHeader(child, time.time(), mail.header.envelope, Origin.CHILD)
        job = RelayJob(mail.ref, header, len(mail.content), "other.test", (0,))
        row = {
            "mail_id": child,
            "n": 0,
            "recipient": "r0@other.test",
            "domain": "other.test",
            "received_at": time.time(),
            "next_attempt_at": time.time(),
            "job": encode(job),
        }
        async with self.database.transaction() as transaction:
            await transaction.insert(deferred, [row])
        return child

    async def relayed(self, child: str) -> None:
        row = {"mail_id": child, "n": 0, "recipient": "", "state": "relayed", "at": time.time()}
        async with self.database.transaction() as transaction:
            await transaction.execute(delete(deferred).where(deferred.c.mail_id == child))
            await transaction.insert(outcome, [row])

    async def park(self, mail: Mail) -> None:
        row = {
            "queue": "filter",
            "mail_id": mail.mail_id,
            "body": encode(FilterJob(mail.ref, mail.header)),
            "reason": "a test",
            "parked_at": time.time(),
        }
        async with self.database.transaction() as transaction:
            await transaction.insert(parked, [row])

    async def unpark(self, mail: Mail) -> None:
        async with self.database.transaction() as transaction:
            await transaction.execute(delete(parked).where(parked.c.mail_id == mail.mail_id))

    async def append(self, count: int = 1, mailbox: str = "INBOX") -> list[int]:
        items = [AppendItem(self.content(), 0, "", None) for _ in range(count)]
        return (await self.store.append(self.account, mailbox, items))[1]

    async def box(self, mailbox: str = "INBOX") -> int:
        found = await self.store.mailbox(self.account, mailbox)
        assert found
        return found.id

    async def uids(self, mailbox: str = "INBOX") -> list[int]:
        return [entry.uid for entry in await self.store.entries(await self.box(mailbox))]

    async def expunge(self, uids: Sequence[int], mailbox: str = "INBOX") -> None:
        box = await self.box(mailbox)
        await self.store.store(box, uids, "add", Flag.DELETED, "")
        await self.store.expunge(box, uids)

    async def expire(self) -> None:
        """The undelete window of all that was expunged is over."""
        async with self.database.transaction() as transaction:
            await transaction.execute(update(recoverable).values(expires_at=1.0))
            await expire(transaction)

    async def collect(
        self, ahead: float = 0.0, *, dry_run: bool = False, rules: Rules = RULES
    ) -> Pass:
        """One pass, with the clock put forward by so many seconds first."""
        self.ahead += ahead
        collector = Collector(self.database, self.queue, self.blobs, rules)
        return await collector.collect(time.time() + self.ahead, dry_run=dry_run)

    async def collect_all(self) -> None:
        """Passes, a few days apart, until all that is garbage now must be gone."""
        for days in (8, 2, 31, 2, 31):
            await self.reopen()
            await self.collect(days * DAY)

    async def all_readable(self) -> None:
        """Every message that has a row can be read, byte for byte (I4)."""
        columns = ("mail_id", "segment", "record_offset", "record_length", "sha256")
        async with self.database.reading() as transaction:
            rows = await transaction.rows(select(*(message.c[name] for name in columns)))
        for row in rows:
            record = await self.blobs.read(
                BlobRef(row.segment, row.record_offset, row.record_length)
            )
            assert record.sha256 == bytes(row.sha256)
            assert record.content == self.contents[record.sha256.hex()]

    async def shows(self, mailbox: str = "INBOX") -> list[bytes]:
        """What IMAP would show of every message of a mailbox."""
        store = self.store
        found = await store.stored(await self.box(mailbox), None)
        return [
            await store.read(one, len(one.prefix), len(one.prefix) + one.content_size)
            for one in found
        ]

    async def octets(self) -> int:
        """Octets of all segments."""
        hours = [await self.blobs.segments(hour) for hour in await self.blobs.hours()]
        return sum(segment.octets for segments in hours for segment in segments)

    async def marks(self) -> dict[str, float | None]:
        async with self.database.reading() as transaction:
            rows = await transaction.rows(select(garbage.c.segment, garbage.c.trashed_at))
        return dict(tuple(row) for row in rows)
