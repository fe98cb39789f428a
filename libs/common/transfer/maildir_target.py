"""A Maildir with the folders of Maildir++, UIDs in the names as mbsync has them.

A message is in `cur` only when its octets are on the disk, so whatever is there is whole.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from libs.common.mailstore import Mailbox
from libs.common.transfer.exporter import Outgoing
from libs.common.transfer.letter import TransferError
from libs.protocols.mailfile.maildir import FileName, file_name, folder_name, parse


class MaildirTarget:
    """Writes each mailbox into a folder of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root
        self._there: set[int] = set()
        self._keywords: list[str] = []

    async def begin(self, box: Mailbox) -> None:
        """Make the folder, or see what is in it."""
        self._folder = self._root / folder_name(box.name)
        await asyncio.to_thread(self._begin, box)

    def _begin(self, box: Mailbox) -> None:
        for part in ("cur", "new", "tmp"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        names = [entry.name for entry in os.scandir(self._folder / "cur")]
        noted = self._folder / ".uidvalidity"
        if not noted.exists() and not names:
            noted.write_text(f"{box.uidvalidity}\n{box.uidnext - 1}\n")
        elif not noted.exists() or noted.read_text().split("\n")[0] != str(box.uidvalidity):
            raise TransferError(
                f"{self._folder} holds another mailbox than {box.name}; export to another place"
            )
        self._there = {parse(name).uid for name in names}
        keywords = self._folder / "dovecot-keywords"
        lines = keywords.read_text().splitlines() if keywords.exists() else []
        self._keywords = [line.partition(" ")[2] for line in lines]

    async def lacks(self, page: Sequence[Outgoing]) -> list[Outgoing]:
        """By their UIDs."""
        return [one for one in page if one.entry.uid not in self._there]

    async def write(self, page: Sequence[Outgoing]) -> None:
        """One file each."""
        for one in page:
            await self._write(one)

    async def _write(self, one: Outgoing) -> None:
        entry = one.entry
        unique = f"{int(entry.internaldate)}.{entry.mail_id}_{entry.uid}.holub"
        plain = await one.is_plain()
        path = self._folder / "tmp" / unique
        with path.open("wb") as file:
            async for block in one.lf() if plain else one.blocks():
                await asyncio.to_thread(file.write, block)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
            size = file.tell()
        os.utime(path, (entry.internaldate, entry.internaldate))
        known = len(self._keywords)
        name = FileName(unique, tuple(one.flags), entry.uid, kept=not plain)
        text = file_name(name, size, self._keywords)
        if len(self._keywords) > known:
            self._note_keywords()
        path.rename(self._folder / "cur" / text)

    def _note_keywords(self) -> None:
        lines = (f"{number} {word}\n" for number, word in enumerate(self._keywords))
        path = self._folder / "tmp" / "dovecot-keywords"
        path.write_text("".join(lines))
        path.rename(self._folder / "dovecot-keywords")

    async def end(self, box: Mailbox) -> None:
        """The newest UID is noted for mbsync."""
        text = f"{box.uidvalidity}\n{box.uidnext - 1}\n"
        (self._folder / ".uidvalidity").write_text(text)
