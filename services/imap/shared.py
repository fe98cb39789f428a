"""What all sessions of the process share of a mailbox: UIDs, flags and MODSEQs, once in memory.

A session's `View` is a place in this history: the list of UIDs as its client was last told, and
how many changes ago that was.  Lists are replaced and never changed, so sessions that are up to
date hold the same one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from libs.common.mailstore import Entry, Mailbox, MailStore

if TYPE_CHECKING:
    from services.imap.view import View

MAX_CHANGES = 256
"""Changes that are remembered; who is further behind compares the lists."""
GONE = -1
"""The MODSEQ of a mailbox that does not exist any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one refresh brought, as UIDs."""

    expunged: tuple[int, ...]
    flagged: tuple[int, ...]


class SharedMailbox:
    """One mailbox as this process knows it."""

    def __init__(self, store: MailStore, mailbox: Mailbox) -> None:
        self._store = store
        self.mailbox = mailbox
        self.modseq = 0
        self.uids: list[int] = []
        self.entries: dict[int, Entry] = {}
        """By UID; those expunged stay until no session can ask for them."""
        self.views: set[View] = set()
        self.changes: deque[Change] = deque()
        self.hinted = False
        """There may be more in the store than here."""
        self.keywords: set[str] = set()
        """All that were seen on messages of this mailbox."""
        self.sort_keys: dict[str, dict[int, Any]] = {}
        """What SORT and THREAD made of ENVELOPEs, by criterion and UID; it never changes."""
        self.head = 0
        """How many changes there have been since the process opened the mailbox."""
        self._lock = asyncio.Lock()
        self._begun = 0

    async def refresh(self, known: int | None = None) -> None:
        """Catch up with the store; callers at the same time share one look.

        `known`: the HIGHESTMODSEQ when the caller has just read it.
        """
        asked = self._begun
        if known == self.modseq:
            return
        async with self._lock:
            if self._begun > asked and known is None:
                # Another look began after we asked, so it saw all that we could see.
                return
            self._begun += 1
            self.hinted = False
            try:
                await self._look(known)
            except BaseException:
                self.hinted = True
                raise

    async def _look(self, known: int | None) -> None:
        highest = await self._highest() if known is None else known
        if highest > self.modseq:
            await self._catch_up(highest)
            self._wake()
        elif highest == GONE:
            self.modseq = GONE
            self._wake()

    async def _highest(self) -> int:
        return (await self._store.highestmodseqs([self.mailbox.id])).get(self.mailbox.id, GONE)

    async def _catch_up(self, highest: int) -> None:
        since = self.modseq
        if not since:
            found = await self._store.entries(self.mailbox.id)
            self.uids = [entry.uid for entry in found]
            self.entries = {entry.uid: entry for entry in found}
            self._note_keywords(found)
        else:
            news = await self._store.entries(self.mailbox.id, since)
            self._apply(news, await self._store.vanished(self.mailbox.id, since))
        # What was committed after `highest` was read comes once more, and is no news then.
        self.modseq = highest

    def _apply(self, news: Sequence[Entry], gone: Sequence[int]) -> None:
        here = self.entries
        expunged = tuple(uid for uid in gone if self._has(uid))
        left = set(expunged)
        uids = [uid for uid in self.uids if uid not in left] if left else self.uids
        flagged, added = [], []
        for entry in news:
            known = here.get(entry.uid)
            here[entry.uid] = entry
            if known is None:
                added.append(entry.uid)
            elif known.modseq != entry.modseq:
                flagged.append(entry.uid)
        if added:
            # UIDs become visible in ascending order (I3), so they all go to the end.
            uids = [*uids, *added]
        self.uids = uids
        self._note_keywords(news)
        self._remember(Change(expunged, tuple(flagged)))

    def _note_keywords(self, entries: Iterable[Entry]) -> None:
        for together in {entry.keywords for entry in entries}:
            self.keywords.update(together.split())

    def _has(self, uid: int) -> bool:
        at = bisect_left(self.uids, uid)
        return at < len(self.uids) and self.uids[at] == uid

    def _remember(self, change: Change) -> None:
        self.changes.append(change)
        self.head += 1
        while len(self.changes) > MAX_CHANGES:
            self._forget_one()

    def forget_told(self) -> None:
        """Drop the changes that every session has been told of."""
        oldest = min((view.position for view in self.views), default=self.head)
        while self.changes and self.head - len(self.changes) < oldest:
            self._forget_one()

    def _forget_one(self) -> None:
        for uid in self.changes.popleft().expunged:
            self.entries.pop(uid, None)
            for kept in self.sort_keys.values():
                kept.pop(uid, None)

    def since(self, position: int) -> list[Change] | None:
        """The changes from a position on; None when they are not remembered any more."""
        count = self.head - position
        if count > len(self.changes):
            return None
        return [self.changes[i] for i in range(len(self.changes) - count, len(self.changes))]

    def hint(self) -> None:
        """Something may have changed in the store: let every session look."""
        self.hinted = True
        self._wake()

    def _wake(self) -> None:
        for view in self.views:
            view.changed.set()


class Mailboxes:
    """The mailboxes that are open, and the last ones that were, as long as they fit."""

    def __init__(self, store: MailStore, most_messages: int) -> None:
        self._store = store
        self._most = most_messages
        self._open: dict[int, SharedMailbox] = {}

    def get(self, mailbox_id: int) -> SharedMailbox | None:
        """The mailbox, when it is in memory."""
        return self._open.get(mailbox_id)

    def watched(self) -> list[SharedMailbox]:
        """Those that a session has selected."""
        return [box for box in self._open.values() if box.views]

    async def open(self, mailbox: Mailbox, view: View) -> SharedMailbox:
        """The mailbox up to date, with this view on it."""
        box = self._open.pop(mailbox.id, None)
        # SQLite may give the number of a deleted mailbox to a new one; UIDVALIDITY never returns.
        if box is None or box.mailbox.uidvalidity != mailbox.uidvalidity or box.modseq == GONE:
            box = SharedMailbox(self._store, mailbox)
        self._open[mailbox.id] = box
        box.views.add(view)
        try:
            await box.refresh(mailbox.highestmodseq)
        except BaseException:
            box.views.discard(view)
            raise
        return box

    def leave(self, box: SharedMailbox, view: View) -> None:
        """The view is not on it any more."""
        box.views.discard(view)
        box.forget_told()
        if not box.views and self._open.get(box.mailbox.id) is box:
            # To the end: the first ones are those that were left the longest ago.
            self._open[box.mailbox.id] = self._open.pop(box.mailbox.id)
        self._make_room()

    def _make_room(self) -> None:
        total = sum(len(box.uids) for box in self._open.values())
        for number, box in list(self._open.items()):
            if total <= self._most and box.modseq != GONE:
                continue
            if not box.views:
                total -= len(box.uids)
                del self._open[number]
