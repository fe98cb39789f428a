"""The maildrop of a session: INBOX as it was at the login, and the marks of DELE."""

from __future__ import annotations

from collections.abc import AsyncIterator

from libs.common.accounts import Account
from libs.common.mailstore import Entry, Mailbox, MailStore

_CHUNK = 256 * 1024


class NoSuchMessage(Exception):
    """The number is none, or its message is marked as deleted."""


class Maildrop:
    """Messages by their numbers, which are 1, 2, 3, ... for the whole session."""

    def __init__(self, store: MailStore, mailbox: Mailbox, entries: list[Entry]) -> None:
        self._store = store
        self._mailbox = mailbox
        self._entries = entries
        self._deleted: set[int] = set()

    @classmethod
    async def open(cls, store: MailStore, account: Account) -> Maildrop:
        """The INBOX of this account."""
        mailbox = await store.mailbox(account.id, "INBOX")
        if mailbox is None:
            raise LookupError(f"account {account.id} has no INBOX")
        return cls(store, mailbox, await store.entries(mailbox.id))

    def entry(self, number: int) -> Entry:
        """The message with this number."""
        if not 0 < number <= len(self._entries) or number in self._deleted:
            raise NoSuchMessage
        return self._entries[number - 1]

    def left(self) -> list[tuple[int, Entry]]:
        """(number, message) of those that are not marked."""
        pairs = enumerate(self._entries, 1)
        return [(number, entry) for number, entry in pairs if number not in self._deleted]

    def unique_id(self, entry: Entry) -> str:
        """The same in every session, and never another message's (RFC 1939 §7, UIDL)."""
        return f"{self._mailbox.uidvalidity:08x}.{entry.uid:08x}"

    def delete(self, number: int) -> None:
        """Mark a message."""
        self.entry(number)
        self._deleted.add(number)

    def reset(self) -> None:
        """Take all marks back."""
        self._deleted.clear()

    async def commit(self) -> int:
        """Remove what is marked, all or nothing; how many went."""
        uids = [self._entries[number - 1].uid for number in sorted(self._deleted)]
        if not uids:
            return 0
        return len(await self._store.remove(self._mailbox.account_id, self._mailbox.id, uids))

    async def content(self, entry: Entry) -> tuple[int, AsyncIterator[bytes]]:
        """(octets of the header, the message in blocks); NoSuchMessage when it is gone by now."""
        found = await self._store.stored(self._mailbox.id, [entry.uid])
        if not found:
            raise NoSuchMessage
        stored = found[0]
        size = len(stored.prefix) + stored.content_size

        async def blocks() -> AsyncIterator[bytes]:
            for start in range(0, size, _CHUNK):
                yield await self._store.read(stored, start, min(start + _CHUNK, size))

        return len(stored.prefix) + stored.header_size, blocks()
