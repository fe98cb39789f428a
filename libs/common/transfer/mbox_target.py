"""mbox files: `A/B.mbox` for the mailbox A/B, in which messages stand by their UIDs.

Beside each is a `.state` of one line: what was durable last.  A run that goes on cuts off what
comes after that, and what has a higher UID is added.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from libs.common.mailstore import Mailbox, MailStore
from libs.common.transfer.exporter import Outgoing, pages
from libs.common.transfer.letter import TransferError
from libs.protocols.mailfile.maildir import level_name
from libs.protocols.mailfile.mbox import Begin, Quoter, Quoting, fields, from_line

_LETTERS = {"\\Seen": "R", "\\Answered": "A", "\\Flagged": "F", "\\Deleted": "D", "\\Draft": "T"}


async def mbox_stream(store: MailStore, box: Mailbox, quoting: Quoting) -> AsyncIterator[bytes]:
    """A whole mailbox as an mbox."""
    uidvalidity = box.uidvalidity
    async for page in pages(store, box):
        for one in page:
            async for block in _blocks(one, quoting, uidvalidity):
                yield block
            uidvalidity = 0


async def _blocks(one: Outgoing, quoting: Quoting, uidvalidity: int) -> AsyncIterator[bytes]:
    """One message as it stands in the file; with the mailbox's UIDVALIDITY if it is the first."""
    plain = await one.is_plain()
    size = one.entry.size
    last = await one.store.read(one.stored, size - 1, size) if size else b""
    status = "".join(_LETTERS.get(flag, "") for flag in one.flags)
    begin = Begin(None, status, one.entry.keywords, one.entry.uid, uidvalidity)
    yield from_line(one.entry.internaldate)
    yield fields(begin, kept=not plain, open_end=last != b"\n")
    quoter = Quoter(quoting)
    async for block in one.lf() if plain else one.blocks():
        yield quoter.feed(block)
    yield quoter.end()
    yield b"\n" if last == b"\n" else b"\n\n"


class MboxTarget:
    """Writes each mailbox into a file of its own."""

    def __init__(self, root: Path, quoting: Quoting) -> None:
        self._root = root
        self._quoting = quoting
        self._path = root
        self._uidvalidity = 0
        self._done = 0

    async def begin(self, box: Mailbox) -> None:
        """Begin the file, or go on with it."""
        *above, last = [level_name(level) for level in box.name.split("/")]
        self._path = self._root.joinpath(*above, f"{last}.mbox")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._uidvalidity, self._done = box.uidvalidity, 0
        state = self._state
        if state.exists():
            uidvalidity, self._done, octets = json.loads(state.read_text())
            if uidvalidity != box.uidvalidity:
                raise TransferError(
                    f"{self._path} holds another mailbox than {box.name}; export to another place"
                )
            os.truncate(self._path, octets)
        elif self._path.exists():
            raise TransferError(f"{self._path} is there already; export to another place")
        else:
            self._path.touch()
            self._note(0)

    @property
    def _state(self) -> Path:
        return self._path.with_name(f"{self._path.name}.state")

    def _note(self, octets: int) -> None:
        new = self._path.with_name(f"{self._path.name}.state.new")
        new.write_text(json.dumps([self._uidvalidity, self._done, octets]))
        new.replace(self._state)

    async def lacks(self, page: Sequence[Outgoing]) -> list[Outgoing]:
        """What has come since."""
        return [one for one in page if one.entry.uid > self._done]

    async def write(self, page: Sequence[Outgoing]) -> None:
        """Add them, and note how far it is when they are on the disk."""
        if not page:
            return
        with self._path.open("ab") as file:
            for one in page:
                first = self._uidvalidity if not file.tell() else 0
                async for block in _blocks(one, self._quoting, first):
                    await asyncio.to_thread(file.write, block)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
            octets = file.tell()
        self._done = page[-1].entry.uid
        self._note(octets)

    async def end(self, box: Mailbox) -> None:
        """Nothing is left to do."""
