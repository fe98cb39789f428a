"""The mail store as gateways use it: everything that IMAP and POP3 read and write."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy import ColumnElement, select

from libs.common.blobstore.protocol import BlobMissing, BlobRef, BlobStore, Spool
from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import mailbox, mailbox_message, message, vanished
from libs.common.jobs import Envelope, Origin, RecordHeader, new_mail_id
from libs.common.jobs.record import encode_header
from libs.common.mailstore import folders
from libs.common.mailstore.annotations import annotate, read_annotations
from libs.common.mailstore.append import Addition, add, lock_accounts, lock_mailboxes
from libs.common.mailstore.change import (
    change_flags,
    expunge,
    move,
    placed,
    remove,
    require_owner,
    sources,
)
from libs.common.mailstore.imported import AppendItem, Brought, bring_in, known_imports
from libs.common.mailstore.learn import of_move
from libs.common.mailstore.mailbox import Entry, Mailbox, MailStoreError, Stored
from libs.common.mailstore.messages import message_row
from libs.common.mailstore.quota import Usage, check_room, usage
from libs.common.mailstore.recover import keep_all, list_recoverable, restore
from libs.common.mailstore.search_index import Answers, Sought, ask
from libs.common.queue.protocol import Queue
from libs.protocols.message.disguise import disguise
from libs.protocols.message.summary import Summary, summarise

T = TypeVar("T")
TOPIC = "mailbox"
RECOVERABLE_SECONDS = 14 * 86400.0
"""How long expunged mail can be had back, when nothing else is said."""
_ids = msgspec.json.Decoder(frozenset[int])
_SUMMARY_THREAD = 256 * 1024
"""Octets of content from which its summary is made in a thread, off the event loop."""

_ENTRY = (
    mailbox_message.c.uid,
    mailbox_message.c.mail_id,
    mailbox_message.c.flags,
    mailbox_message.c.keywords,
    mailbox_message.c.modseq,
    mailbox_message.c.internaldate,
    mailbox_message.c.size,
)
_STORED = select(
    mailbox_message.c.uid,
    mailbox_message.c.mail_id,
    message.c.segment,
    message.c.record_offset,
    message.c.record_length,
    message.c.size,
    mailbox_message.c.prefix,
    message.c.header_size,
    message.c.envelope,
    message.c.bodystructure,
    message.c.body,
    message.c.parts,
    message.c.preview,
    mailbox_message.c.savedate,
    message.c.disguised,
).join_from(mailbox_message, message, message.c.mail_id == mailbox_message.c.mail_id)

_SUMMARIES = select(
    mailbox_message.c.mail_id, message.c.envelope, message.c.bodystructure
).join_from(mailbox_message, message, message.c.mail_id == mailbox_message.c.mail_id)

_THREADS = select(
    mailbox_message.c.uid,
    mailbox_message.c.internaldate,
    message.c.message_id,
    message.c.thread_refs,
    message.c.subject,
    message.c.sent_at,
).join_from(mailbox_message, message, message.c.mail_id == mailbox_message.c.mail_id)


class MailStore:
    """Reads see a committed state; every write is one transaction, then a change notice.

    Raises `MailStoreError` with the response code when the request cannot be done, and
    `DatabaseUnavailable` or `BlobError` when a backend is away.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        queue: Queue,
        *,
        recoverable_seconds: float = RECOVERABLE_SECONDS,
    ) -> None:
        self._recoverable_seconds = recoverable_seconds
        self._database = database
        self._blobs = blobs
        self._queue = queue
        # Large messages are in memory while their summary is made: few at a time.
        self._large = asyncio.Semaphore(2)

    async def mailboxes(self, account_id: int) -> list[Mailbox]:
        """All mailboxes of an account, by name."""
        async with self._database.reading() as transaction:
            return await folders.list_mailboxes(transaction, account_id)

    async def mailbox(self, account_id: int, name: str) -> Mailbox | None:
        """The mailbox with this name, or None."""
        async with self._database.reading() as transaction:
            return await folders.find(transaction, account_id, name)

    async def create(self, account_id: int, name: str, special_use: str = "") -> Mailbox:
        """Create a mailbox and those above it."""
        return await self._write(
            lambda tx: folders.create(tx, account_id, name, special_use), lambda box: [box.id]
        )

    async def delete(self, account_id: int, name: str) -> None:
        """Delete a mailbox with its messages."""

        async def work(transaction: Transaction) -> None:
            await lock_accounts(transaction, [account_id])
            box = await folders.require(transaction, account_id, name)
            await keep_all(transaction, box.id, self._recoverable_seconds)
            await folders.remove(transaction, account_id, name)

        await self._write(work, lambda _: [])

    async def recoverable(self, account_id: int) -> Sequence[Any]:
        """What was expunged and can be had back (`list_recoverable`), the newest first."""
        async with self._database.reading() as transaction:
            return await list_recoverable(transaction, account_id)

    async def restore(self, account_id: int, ids: Sequence[int]) -> list[tuple[str, int]]:
        """Put expunged messages back; (mailbox, new UID) of each."""
        found = await self._write(
            lambda tx: restore(tx, account_id, ids), lambda done: [box for box, _, _ in done]
        )
        return [(name, uid) for _, name, uid in found]

    async def rename(self, account_id: int, old: str, new: str) -> None:
        """Rename a mailbox and those below it."""
        await self._write(lambda tx: folders.rename(tx, account_id, old, new), lambda _: [])

    async def subscribe(self, account_id: int, name: str, subscribed: bool) -> None:
        """Set whether a mailbox is subscribed."""
        await self._write(
            lambda tx: folders.subscribe(tx, account_id, name, subscribed), lambda _: []
        )

    async def deleted(self, mailbox_id: int) -> tuple[int, int]:
        """(messages, octets) that are \\Deleted."""
        async with self._database.reading() as transaction:
            return await folders.deleted(transaction, mailbox_id)

    async def usage(self, account_id: int) -> Usage:
        """What the account uses, and may use."""
        async with self._database.reading() as transaction:
            return await usage(transaction, account_id)

    async def annotations(self, account_id: int, mailbox_id: int) -> dict[str, bytes]:
        """The METADATA of a mailbox, or of the account (`ACCOUNT`), by entry name."""
        async with self._database.reading() as transaction:
            return await read_annotations(transaction, account_id, mailbox_id)

    async def annotate(
        self, account_id: int, mailbox_id: int, values: Mapping[str, bytes | None]
    ) -> None:
        """Set METADATA entries; None removes one."""
        await self._write(lambda tx: annotate(tx, account_id, mailbox_id, values), lambda _: [])

    async def page(self, mailbox_id: int, after: int, most: int) -> list[tuple[Entry, Stored]]:
        """The next messages above a UID."""
        query = select(*_ENTRY).where(mailbox_message.c.mailbox_id == mailbox_id)
        query = query.where(mailbox_message.c.uid > after).order_by(mailbox_message.c.uid)
        async with self._database.reading() as transaction:
            entries = [Entry(*row) for row in await transaction.rows(query.limit(most))]
        stored = {s.uid: s for s in await self.stored(mailbox_id, [e.uid for e in entries])}
        # One that is gone between the two looks is left out.
        return [(entry, stored[entry.uid]) for entry in entries if entry.uid in stored]

    async def entries(self, mailbox_id: int, since_modseq: int = 0) -> list[Entry]:
        """The messages whose MODSEQ is above `since_modseq`, by UID."""
        query = select(*_ENTRY).where(mailbox_message.c.mailbox_id == mailbox_id)
        if since_modseq:
            query = query.where(mailbox_message.c.modseq > since_modseq)
        async with self._database.reading() as transaction:
            rows = await transaction.rows(query.order_by(mailbox_message.c.uid))
        return [Entry(*row) for row in rows]

    async def savedates(self, mailbox_id: int) -> dict[int, float]:
        """When each message came into the mailbox, by UID (RFC 8514)."""
        query = select(mailbox_message.c.uid, mailbox_message.c.savedate)
        async with self._database.reading() as transaction:
            rows = await transaction.rows(query.where(mailbox_message.c.mailbox_id == mailbox_id))
        return dict(tuple(row) for row in rows)

    async def threads(self, mailbox_id: int, uids: Sequence[int]) -> Sequence[Any]:
        """Rows of (uid, internaldate, message_id, thread_refs, subject, sent_at), by UID."""
        query = _THREADS.where(mailbox_message.c.mailbox_id == mailbox_id)
        query = query.where(_chosen(uids, self._database.dialect))
        async with self._database.reading() as transaction:
            return await transaction.rows(query)

    async def search(self, mailbox_id: int, sought: Sequence[Sought]) -> Answers:
        """Which messages of a mailbox have these texts, as far as the index knows."""
        async with self._database.reading() as transaction:
            return await ask(transaction, mailbox_id, sought)

    async def vanished(self, mailbox_id: int, since_modseq: int) -> list[int]:
        """UIDs that left the mailbox after `since_modseq`, ascending (RFC 7162 §3.2.10)."""
        query = (
            select(vanished.c.uid)
            .where(vanished.c.mailbox_id == mailbox_id, vanished.c.modseq > since_modseq)
            .order_by(vanished.c.uid)
        )
        async with self._database.reading() as transaction:
            return [row.uid for row in await transaction.rows(query)]

    async def summaries(
        self, mailbox_id: int, uids: Sequence[int]
    ) -> dict[str, tuple[bytes, bytes]]:
        """ENVELOPE and BODYSTRUCTURE of these messages (by UID, ascending), by `mail_id`."""
        query = _SUMMARIES.where(mailbox_message.c.mailbox_id == mailbox_id)
        query = query.where(_chosen(uids, self._database.dialect))
        async with self._database.reading() as transaction:
            rows = await transaction.rows(query)
        return {mail_id: (envelope, structure) for mail_id, envelope, structure in rows}

    async def stored(self, mailbox_id: int, uids: Sequence[int] | None) -> list[Stored]:
        """What FETCH needs of these messages (None: of all), by UID."""
        query = _STORED.where(mailbox_message.c.mailbox_id == mailbox_id)
        if uids is not None:
            query = query.where(_chosen(uids, self._database.dialect))
        async with self._database.reading() as transaction:
            rows = await transaction.rows(query.order_by(mailbox_message.c.uid))
        return [_stored(row) for row in rows]

    async def read(self, stored: Stored, start: int, stop: int) -> bytes:
        """Octets [start, stop) of prefix and content, as IMAP shows them."""
        before = len(stored.prefix)
        head = stored.prefix[start:stop] if start < before else b""
        start, stop = max(start - before, 0), min(stop - before, stored.content_size)
        if stop <= start:
            return head
        try:
            octets = await self._blobs.read_range(stored.ref, start, stop)
        except BlobMissing:
            # Compaction may have moved it weeks ago, and this reader kept the old place (rule 10).
            octets = await self._blobs.read_range(await self._place(stored), start, stop)
        return head + (disguise(octets, start, stored.disguised) if stored.disguised else octets)

    async def _place(self, stored: Stored) -> BlobRef:
        query = select(message.c.segment, message.c.record_offset, message.c.record_length)
        async with self._database.reading() as transaction:
            row = await transaction.one_or_none(query.where(message.c.mail_id == stored.mail_id))
        if row is None:
            raise BlobMissing(f"message {stored.mail_id} is gone")
        return BlobRef(*row)

    async def append(
        self, account_id: int, name: str, items: Sequence[AppendItem]
    ) -> tuple[int, list[int]]:
        """Append messages, all or none; (UIDVALIDITY, their UIDs).

        The blobs are durable before the rows refer to them; a failure leaves orphans for GC.
        """
        box = await self.mailbox(account_id, name)
        if box is None:
            raise MailStoreError("TRYCREATE", f"there is no mailbox {name!r}")
        octets = sum(_size(item.content) for item in items)
        async with self._database.reading() as transaction:
            # Asked before anything is stored; what counts is the answer under the lock.
            await check_room(transaction, account_id, len(items), octets)
        # All at once, so that they share an fsync or a PUT.
        rows = await asyncio.gather(*(self._keep(account_id, item) for item in items))

        async def work(transaction: Transaction) -> list[int]:
            await lock_accounts(transaction, [account_id])
            await check_room(transaction, account_id, len(items), octets)
            await transaction.insert(message, rows)
            return await add(transaction, _additions(account_id, box.id, items, rows))

        uids = await self._write(work, lambda _: [box.id])
        return box.uidvalidity, uids

    async def adopt(self, account_id: int, name: str, uidvalidity: int) -> Mailbox:
        """Let a mailbox that was never used have the UIDVALIDITY it had elsewhere, if it can."""
        return await self._write(
            lambda tx: folders.adopt(tx, account_id, name, uidvalidity), lambda box: [box.id]
        )

    async def known_imports(self, account_id: int, keys: Iterable[str]) -> set[str]:
        """Those of the keys that `bring_in` has taken before."""
        async with self._database.reading() as transaction:
            return await known_imports(transaction, account_id, keys)

    async def bring_in(self, account_id: int, mailbox_id: int, brought: Sequence[Brought]) -> int:
        """Append what comes from elsewhere, all or none, each key once for ever; how many."""
        rows = await asyncio.gather(*(self._keep(account_id, one.item) for one in brought))
        additions = _additions(account_id, mailbox_id, [one.item for one in brought], rows)
        return await self._write(
            lambda tx: bring_in(tx, account_id, mailbox_id, brought, rows, additions),
            lambda count: [mailbox_id] if count else [],
        )

    async def replace(
        self, account_id: int, name: str, item: AppendItem, mailbox_id: int, uid: int
    ) -> tuple[int, int]:
        """Append a message and remove another one at once (RFC 8508); (UIDVALIDITY, UID)."""
        box = await self._target(account_id, name)
        row = await self._keep(account_id, item)
        seconds = self._recoverable_seconds

        async def work(transaction: Transaction) -> int:
            await lock_accounts(transaction, [account_id])
            await require_owner(transaction, account_id, mailbox_id)
            await lock_mailboxes(transaction, [mailbox_id, box.id])
            if not await remove(transaction, account_id, mailbox_id, [uid], seconds):
                raise MailStoreError("EXPUNGEISSUED", "the message is gone")
            await check_room(transaction, account_id, 1, _size(item.content))
            await transaction.insert(message, [row])
            (new,) = await add(transaction, _additions(account_id, box.id, [item], [row]))
            return new

        new = await self._write(work, lambda _: [mailbox_id, box.id])
        return box.uidvalidity, new

    async def _keep(self, account_id: int, item: AppendItem) -> dict[str, object]:
        """Store the content; the row that refers to it."""
        owner = (f"account={account_id}",)
        header = RecordHeader(
            new_mail_id(), time.time(), Envelope("", ()), Origin.IMAP, policy=owner
        )
        ref = await self._blobs.put(encode_header(header), item.content, key=header.mail_id)
        if isinstance(item.content, bytes) and len(item.content) < _SUMMARY_THREAD:
            summary, digest = _summary(item.content)
        else:
            async with self._large:
                content = await _whole(item.content)
                summary, digest = await asyncio.to_thread(_summary, content)
        return message_row(header, ref, _size(item.content), digest, summary)

    async def store(
        self,
        mailbox_id: int,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: int,
        keywords: str,
        unchangedsince: int | None = None,
    ) -> tuple[list[Entry], list[int]]:
        """Change flags; (the entries as they are now, UIDs that had changed since)."""

        async def work(transaction: Transaction) -> tuple[list[Entry], list[int]]:
            return await change_flags(
                transaction, mailbox_id, uids, mode, flags, keywords, unchangedsince
            )

        return await self._write(work, lambda result: [mailbox_id] if result[0] else [])

    async def expunge(self, mailbox_id: int, uids: Sequence[int]) -> list[int]:
        """Remove those of these messages that are \\Deleted; the UIDs removed."""
        return await self._write(
            lambda tx: expunge(tx, mailbox_id, uids, self._recoverable_seconds),
            lambda gone: [mailbox_id] if gone else [],
        )

    async def remove(self, account_id: int, mailbox_id: int, uids: Sequence[int]) -> list[int]:
        """Remove these messages, \\Deleted or not; the UIDs removed."""

        async def work(transaction: Transaction) -> list[int]:
            await lock_accounts(transaction, [account_id])
            await require_owner(transaction, account_id, mailbox_id)
            seconds = self._recoverable_seconds
            return await remove(transaction, account_id, mailbox_id, uids, seconds)

        return await self._write(work, lambda gone: [mailbox_id] if gone else [])

    async def copy(
        self, account_id: int, mailbox_id: int, uids: Sequence[int], to_name: str
    ) -> tuple[int, list[tuple[int, int]]]:
        """Copy messages, all or none; (UIDVALIDITY, (old UID, new UID))."""
        to = await self._target(account_id, to_name)

        async def work(transaction: Transaction) -> list[tuple[int, int]]:
            await lock_accounts(transaction, [account_id])
            source = await require_owner(transaction, account_id, mailbox_id)
            rows = await sources(transaction, mailbox_id, uids)
            await check_room(transaction, account_id, len(rows), sum(r.size for r in rows))
            new = await add(transaction, [Addition.again(account_id, to.id, r) for r in rows])
            spam = of_move(source, to.special_use)
            return await placed(transaction, account_id, to.id, rows, new, spam)

        pairs = await self._write(work, lambda done: [to.id] if done else [])
        return to.uidvalidity, pairs

    async def move(
        self, account_id: int, mailbox_id: int, uids: Sequence[int], to_name: str
    ) -> tuple[int, list[tuple[int, int]]]:
        """Move messages, each of which is in exactly one mailbox at any time (RFC 6851 §3.3)."""
        to = await self._target(account_id, to_name)

        async def work(transaction: Transaction) -> list[tuple[int, int]]:
            await lock_accounts(transaction, [account_id])
            source = await require_owner(transaction, account_id, mailbox_id)
            spam = of_move(source, to.special_use)
            return await move(transaction, account_id, mailbox_id, uids, to.id, spam)

        pairs = await self._write(work, lambda done: [mailbox_id, to.id] if done else [])
        return to.uidvalidity, pairs

    async def _target(self, account_id: int, name: str) -> Mailbox:
        found = await self.mailbox(account_id, name)
        if found is None:
            raise MailStoreError("TRYCREATE", f"there is no mailbox {name!r}")
        return found

    async def highestmodseqs(self, mailbox_ids: Iterable[int]) -> dict[int, int]:
        """id -> HIGHESTMODSEQ of those mailboxes that exist; one query (rule 11)."""
        query = select(mailbox.c.id, mailbox.c.highestmodseq)
        query = query.where(in_list(mailbox.c.id, mailbox_ids, self._database.dialect))
        async with self._database.reading() as transaction:
            return {row.id: row.highestmodseq for row in await transaction.rows(query)}

    async def changes(self) -> AsyncIterator[frozenset[int]]:
        """Mailbox ids that changed, in any process; hints that may be missing."""
        async for body in self._queue.listen(TOPIC):
            yield _ids.decode(body)

    async def announce(self, mailbox_ids: Iterable[int]) -> None:
        """Tell every gateway that these mailboxes changed."""
        if ids := sorted(set(mailbox_ids)):
            await self._queue.broadcast(TOPIC, msgspec.json.encode(ids))

    async def _write(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        changed: Callable[[T], Sequence[int]],
    ) -> T:
        result = await self._database.retry(work)
        await self.announce(changed(result))
        return result


def _chosen(uids: Sequence[int], dialect: str) -> ColumnElement[bool]:
    """These UIDs (ascending): as a range where few others are in it, else one by one."""
    column = mailbox_message.c.uid
    if uids and uids[-1] - uids[0] < len(uids):
        return column.between(uids[0], uids[-1])
    return in_list(column, uids, dialect)


async def _whole(content: bytes | Spool) -> bytes:
    if isinstance(content, bytes):
        return content
    return b"".join([block async for block in content.chunks()])


def _summary(content: bytes) -> tuple[Summary, bytes]:
    return summarise(content), hashlib.sha256(content).digest()


def _size(content: bytes | Spool) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def _additions(
    account_id: int, mailbox_id: int, items: Sequence[AppendItem], rows: Sequence[dict[str, object]]
) -> list[Addition]:
    now = time.time()
    return [
        Addition(
            account_id,
            mailbox_id,
            str(row["mail_id"]),
            item.flags,
            item.keywords,
            now if item.internaldate is None else item.internaldate,
            _size(item.content),
            "",
        )
        for item, row in zip(items, rows, strict=True)
    ]


def _stored(row: Any) -> Stored:
    uid, mail_id, segment, offset, length, size, prefix, header_size, *rest, disguised = row
    ref = BlobRef(segment, offset, length)
    before = prefix.encode("latin-1", "replace")
    hidden = tuple(map(int, disguised.split()))
    return Stored(uid, mail_id, ref, size, before, header_size, *(*rest, hidden))
