"""ENVELOPEs and BODYSTRUCTUREs in memory: they never change, and clients ask for them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from libs.common.mailstore import Entry, MailStore

Shown = tuple[bytes, bytes]
"""(ENVELOPE, BODYSTRUCTURE) in wire form."""
_OVERHEAD = 300
"""Octets of one that are not text, about."""


class Summaries:
    """By `mail_id`, so that copies share them; the oldest go when there is no more room."""

    def __init__(self, store: MailStore, most_octets: int) -> None:
        self._store = store
        self._most = most_octets
        self._octets = 0
        self._kept: dict[str, Shown] = {}

    async def of(self, mailbox_id: int, entries: Sequence[Entry]) -> dict[str, Shown]:
        """Of each message that still is in its mailbox, by `mail_id`."""
        kept = self._kept
        found = {e.mail_id: kept[e.mail_id] for e in entries if e.mail_id in kept}
        if len(found) < len(entries):
            missing = [e.uid for e in entries if e.mail_id not in found]
            read = await self._store.summaries(mailbox_id, missing)
            found.update(read)
            self._keep(read.items())
        return found

    def _keep(self, items: Iterable[tuple[str, Shown]]) -> None:
        for mail_id, shown in items:
            if mail_id not in self._kept:
                self._kept[mail_id] = shown
                self._octets += _size(shown)
        while self._octets > self._most:
            self._octets -= _size(self._kept.pop(next(iter(self._kept))))


def _size(shown: Shown) -> int:
    return len(shown[0]) + len(shown[1]) + _OVERHEAD
