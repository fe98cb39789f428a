"""Sending mail out: mailbox by mailbox, message by message, in the order of their UIDs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.common.mailstore import Entry, Mailbox, MailStore, Stored, to_names
from libs.common.transfer.files import BLOCK
from libs.common.transfer.letter import Progress, TransferError
from libs.protocols.mailfile.lines import Plain, ToLf

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out."""

    store: MailStore
    entry: Entry
    stored: Stored

    @property
    def flags(self) -> list[str]:
        """As IMAP names them."""
        return to_names(self.entry.flags, self.entry.keywords)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Its octets, as IMAP shows them."""
        for start in range(0, self.entry.size, BLOCK):
            stop = min(start + BLOCK, self.entry.size)
            yield await self.store.read(self.stored, start, stop)

    async def is_plain(self) -> bool:
        """Can its line ends go to LF and back?"""
        plain = Plain()
        async for block in self.blocks():
            plain.feed(block)
        return plain.so_far

    async def lf(self) -> AsyncIterator[bytes]:
        """Its octets with LF for CRLF."""
        lines = ToLf()
        async for block in self.blocks():
            yield lines.feed(block)
        yield lines.end()


class Target(Protocol):
    """Where mail goes."""

    async def begin(self, box: Mailbox) -> None:
        """A mailbox begins; `TransferError` when something else is in its place."""
        ...

    async def lacks(self, page: Sequence[Outgoing]) -> list[Outgoing]:
        """Those messages that are not there from an earlier run."""
        ...

    async def write(self, page: Sequence[Outgoing]) -> None:
        """Keep these, durably."""
        ...

    async def end(self, box: Mailbox) -> None:
        """The mailbox is whole."""
        ...


async def export(
    store: MailStore, account_id: int, target: Target, only: Sequence[str] = ()
) -> AsyncIterator[Progress]:
    """Write all mailboxes of an account, or `only` these; how far it is, after each page."""
    boxes = [b for b in await store.mailboxes(account_id) if not only or b.name in only]
    if missing := sorted(set(only) - {box.name for box in boxes}):
        raise TransferError(f"the account has no mailbox {missing[0]!r}")
    progress = Progress(total=sum(box.messages for box in boxes))
    for box in boxes:
        progress.mailbox = box.name
        progress.mailboxes += 1
        await target.begin(box)
        async for page in pages(store, box):
            new = await target.lacks(page)
            await target.write(new)
            progress.known += len(page) - len(new)
            progress.messages += len(new)
            progress.octets += sum(one.entry.size for one in new)
            yield progress
        await target.end(box)
    yield progress


async def pages(store: MailStore, box: Mailbox) -> AsyncIterator[list[Outgoing]]:
    """All messages of a mailbox, some at a time."""
    after = 0
    while page := await store.page(box.id, after, _PAGE):
        after = page[-1][0].uid
        yield [Outgoing(store, entry, stored) for entry, stored in page]
