"""A session's view of its selected mailbox: sequence numbers, and what changed since."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from libs.common.mailstore import Entry, Mailbox, MailStore
from libs.protocols.imap.parse import LAST, Ranges


@dataclass(slots=True)
class News:
    """What the client has not been told yet."""

    gone: bool = False
    """The mailbox itself does not exist any more."""
    expunged: list[int] = field(default_factory=list)
    """Sequence numbers, in the order in which they are to be reported."""
    flagged: list[int] = field(default_factory=list)
    """UIDs whose flags changed, also when they changed back: their MODSEQ did not."""
    exists: bool = False


class View:
    """UIDs ascending; a message's sequence number is its place among them."""

    def __init__(self, store: MailStore, mailbox: Mailbox, *, read_only: bool) -> None:
        self._store = store
        self.mailbox = mailbox
        self.read_only = read_only
        self.modseq = 0
        self.uids: list[int] = []
        self.entries: dict[int, Entry] = {}

    async def load(self) -> None:
        """Read the whole mailbox."""
        # The MODSEQ first: what comes between the two queries is read once more, never missed.
        self.modseq = await self._highest()
        for entry in await self._store.entries(self.mailbox.id):
            self.uids.append(entry.uid)
            self.entries[entry.uid] = entry

    async def _highest(self) -> int:
        found = await self._store.highestmodseqs([self.mailbox.id])
        return found.get(self.mailbox.id, -1)

    async def refresh(self) -> News:
        """Catch up with the store.  Call it only where EXPUNGE may be sent."""
        news = News()
        highest = await self._highest()
        if highest == self.modseq:
            return news
        if highest < 0:
            return News(gone=True)
        entries = await self._store.entries(self.mailbox.id, self.modseq)
        for uid in await self._store.vanished(self.mailbox.id, self.modseq):
            if uid in self.entries:
                news.expunged.append(self.forget(uid))
        for entry in entries:
            self._note(entry, news)
        self.modseq = highest
        return news

    def _note(self, entry: Entry, news: News) -> None:
        known = self.entries.get(entry.uid)
        self.entries[entry.uid] = entry
        if known is None:
            self.uids.insert(bisect_left(self.uids, entry.uid), entry.uid)
            news.exists = True
        elif known.modseq != entry.modseq:
            news.flagged.append(entry.uid)

    def forget(self, uid: int) -> int:
        """Remove a message; the sequence number that it had."""
        at = bisect_left(self.uids, uid)
        del self.uids[at]
        del self.entries[uid]
        return at + 1

    def number(self, uid: int) -> int:
        """The sequence number of a UID that is here."""
        return bisect_left(self.uids, uid) + 1

    def select(self, ranges: Ranges, *, uid: bool) -> list[int]:
        """The UIDs that a set names, ascending, each once."""
        chosen = self._by_uid(ranges) if uid else self._by_number(ranges)
        return sorted(set(chosen))

    def _by_uid(self, ranges: Ranges) -> Iterator[int]:
        last = self.uids[-1] if self.uids else 0
        for low, high in ranges:
            # `*` is the highest UID, also when the other end is above it (RFC 9051 §6.4.9).
            low, high = (min(low, last), last) if high == LAST else (low, high)
            yield from self.uids[bisect_left(self.uids, low) : bisect_left(self.uids, high + 1)]

    def _by_number(self, ranges: Ranges) -> Iterator[int]:
        count = len(self.uids)
        for low, high in ranges:
            low, high = min(low, count) if high == LAST else low, min(high, count)
            yield from self.uids[max(low, 1) - 1 : high]
