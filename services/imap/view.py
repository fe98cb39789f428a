"""A session's view of its selected mailbox: sequence numbers, and what changed since."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from libs.common.mailstore import Entry, Mailbox
from libs.protocols.imap.parse import LAST, Ranges
from services.imap.shared import GONE, Change, Mailboxes, SharedMailbox

_MANY = 1000
"""Sequence numbers asked for at once, from which a table of all of them pays."""


@dataclass(slots=True)
class News:
    """What the client has not been told yet."""

    gone: bool = False
    """The mailbox itself does not exist any more."""
    expunged: list[int] = field(default_factory=list)
    """UIDs, ascending."""
    numbers: list[int] = field(default_factory=list)
    """Their sequence numbers, each as it is after the EXPUNGE responses before it."""
    flagged: list[int] = field(default_factory=list)
    """UIDs whose flags changed, also when they changed back: their MODSEQ did not."""
    exists: bool = False


class View:
    """UIDs ascending; a message's sequence number is its place among them."""

    def __init__(
        self, mailbox: Mailbox, changed: asyncio.Event | None = None, *, read_only: bool
    ) -> None:
        self.mailbox = mailbox
        self.read_only = read_only
        self.changed = changed or asyncio.Event()
        """Set when there may be something to be told."""
        self.uids: list[int] = []
        self.modseq = 0
        """Up to which the client has been told."""
        self.position = 0
        self.shared: SharedMailbox
        self._known: dict[int, int] = {}

    async def load(self, mailboxes: Mailboxes) -> None:
        """Share the mailbox, from its newest state on."""
        self.shared = await mailboxes.open(self.mailbox, self)
        self._follow()

    def leave(self, mailboxes: Mailboxes) -> None:
        """Share it no more."""
        if hasattr(self, "shared"):
            mailboxes.leave(self.shared, self)

    def _follow(self) -> None:
        self.uids, self.modseq = self.shared.uids, self.shared.modseq
        self.position = self.shared.head
        self._known.clear()
        self.shared.forget_told()
        if not self.shared.hinted:
            self.changed.clear()

    @property
    def entries(self) -> dict[int, Entry]:
        """By UID, as they are now, which the client may not have been told yet."""
        return self.shared.entries

    async def refresh(self) -> News:
        """Look into the store, and catch up.  Call it only where EXPUNGE may be sent."""
        await self.shared.refresh()
        return self.catch_up()

    def catch_up(self) -> News:
        """What the process knows and the client does not."""
        shared = self.shared
        if shared.modseq == GONE:
            return News(gone=True)
        if self.position == shared.head:
            self.modseq = shared.modseq
            return News()
        changes = shared.since(self.position)
        news = self._compared() if changes is None else self._merged(changes)
        self._follow()
        return news

    def _merged(self, changes: list[Change]) -> News:
        expunged = {uid for change in changes for uid in change.expunged}
        flagged = {uid for change in changes for uid in change.flagged} - expunged
        return self._news(sorted(expunged), sorted(flagged))

    def _compared(self) -> News:
        now, entries = set(self.shared.uids), self.entries
        expunged = [uid for uid in self.uids if uid not in now]
        last = self.uids[-1] if self.uids else 0
        flagged = [u for u in now if u <= last and entries[u].modseq > self.modseq]
        return self._news(expunged, sorted(flagged))

    def _news(self, expunged: list[int], flagged: list[int]) -> News:
        # What came and went without this client having heard of it is no news.
        expunged = [uid for uid in expunged if self.has(uid)]
        numbers = [self.number(uid) - i for i, uid in enumerate(expunged)]
        known, entries = self._known, self.entries
        flagged = [u for u in flagged if self.has(u) and known.get(u) != entries[u].modseq]
        # UIDs become visible in ascending order (I3), so what is new is above what was here.
        exists = self.shared.uids[-1:] > (self.uids[-1:] or [0])
        return News(False, expunged, numbers, flagged, exists)

    def know(self, entry: Entry) -> None:
        """The client knows the flags of this message, so they are no news."""
        self._known[entry.uid] = entry.modseq

    def has(self, uid: int) -> bool:
        """Is the message here, as far as the client was told?"""
        at = bisect_left(self.uids, uid)
        return at < len(self.uids) and self.uids[at] == uid

    def number(self, uid: int) -> int:
        """The sequence number of a UID that is here."""
        return bisect_left(self.uids, uid) + 1

    def numbers(self, uids: Sequence[int]) -> list[int]:
        """The sequence numbers of UIDs that are here, in the order of the UIDs."""
        if uids == self.uids:
            return list(range(1, len(uids) + 1))
        if len(uids) > _MANY:
            places = {uid: number for number, uid in enumerate(self.uids, 1)}
            return [places[uid] for uid in uids]
        return [self.number(uid) for uid in uids]

    def current(self) -> list[Entry]:
        """The entries of all messages here, by UID."""
        entries = self.entries
        return [entries[uid] for uid in self.uids if uid in entries]

    def spans(self, ranges: Ranges, *, uid: bool) -> list[range]:
        """The places in `uids` that a set names: ascending, apart from each other."""
        found = sorted(
            (span.start, span.stop) for span in self._spans(ranges, uid=uid) if len(span)
        )
        merged: list[range] = []
        for start, stop in found:
            if merged and start <= merged[-1].stop:
                merged[-1] = range(merged[-1].start, max(stop, merged[-1].stop))
            else:
                merged.append(range(start, stop))
        return merged

    def _spans(self, ranges: Ranges, *, uid: bool) -> Iterator[range]:
        count = len(self.uids)
        last = (self.uids[-1] if count else 0) if uid else count
        for low, high in ranges:
            # `*` is the highest one, also when the other end is above it (RFC 9051 §6.4.9).
            low, high = (min(low, last), last) if high == LAST else (low, high)
            if uid:
                yield range(bisect_left(self.uids, low), bisect_left(self.uids, high + 1))
            else:
                yield range(max(low, 1) - 1, min(high, count))

    def select(self, ranges: Ranges, *, uid: bool) -> list[int]:
        """The UIDs that a set names, ascending, each once; without those forgotten long since."""
        spans = self.spans(ranges, uid=uid)
        found = [number for span in spans for number in self.uids[span.start : span.stop]]
        if self.shared.since(self.position) is None:
            return [number for number in found if number in self.entries]
        return found
