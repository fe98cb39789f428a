"""mbox files, or one that comes as a stream.

An mbox has no names for its messages: their key is the content itself, and which of several alike
it is.  So the same file under another name brings nothing twice, and neither does a longer one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
)
from pathlib import Path

from libs.common.blobstore.spool import SpoolFile
from libs.common.transfer.files import blocks, content_of, file_below
from libs.common.transfer.letter import (
    MAX_OCTETS,
    Folder,
    Known,
    Letter,
    Progress,
    TransferError,
    flags_of,
    key_of,
)
from libs.protocols.mailfile.maildir import mailbox_name
from libs.protocols.mailfile.mbox import Begin, End, Event, NotMboxError, Quoting, Reader

_LETTERS = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "D": "\\Deleted", "T": "\\Draft"}
_ASKED_AT_ONCE, _ASKED_OCTETS = 50, 4 * 1024 * 1024
Open = Callable[[], AsyncIterable[bytes]]


class MboxSource:
    """Mailboxes, each of them an mbox."""

    def __init__(
        self, boxes: Mapping[str, Open], quoting: Quoting, spool: str | None = None
    ) -> None:
        self._boxes = boxes
        self._quoting = quoting
        self._spool = spool
        self._passed: list[str] = []

    @classmethod
    def of_path(cls, path: Path, quoting: Quoting, mailbox: str = "") -> MboxSource:
        """One file, or all `*.mbox` of a folder and those below it."""
        root = path if path.is_dir() else path.parent
        if root is path:
            files = {_name(path, file): file for file in sorted(path.rglob("*.mbox"))}
        else:
            files = {mailbox or mailbox_name((path.name.removesuffix(".mbox"),)): path}
        passed = {name: why for name, file in files.items() if (why := _fault(root, file))}
        if files.keys() == passed.keys():
            raise TransferError(
                next(iter(passed.values()), f"{path} has no files that end in .mbox")
            )
        good = {n: _Reopened(root, file) for n, file in files.items() if n not in passed}
        made = cls(good, quoting)
        made._passed = list(passed.values())
        return made

    async def folders(self) -> list[Folder]:
        """Their UIDVALIDITY stands in the first message."""
        return [Folder(name, await self._uidvalidity(name)) for name in self._boxes]

    async def _uidvalidity(self, name: str) -> int:
        if name not in self._boxes or not isinstance(self._boxes[name], _Reopened):
            return 0
        reader = Reader(self._quoting)
        async for block in self._boxes[name]():
            for event in _read(name, reader.feed(block)):
                if isinstance(event, Begin):
                    return event.uidvalidity
        return 0

    async def letters(
        self, folder: Folder, known: Known, progress: Progress
    ) -> AsyncGenerator[Letter, None]:
        """In the order of the file."""
        progress.problems += self._passed
        self._passed = []
        seen: Counter[str] = Counter()
        waiting: list[Letter] = []
        try:
            async for letter in self._all(folder.name, progress, seen):
                waiting.append(letter)
                octets = sum(one.size for one in waiting)
                if len(waiting) >= _ASKED_AT_ONCE or octets >= _ASKED_OCTETS:
                    async for new in _unknown(waiting, known, progress):
                        yield new
            async for new in _unknown(waiting, known, progress):
                yield new
        finally:
            for letter in waiting:
                letter.close()

    async def _all(
        self, name: str, progress: Progress, seen: Counter[str]
    ) -> AsyncIterator[Letter]:
        reader = Reader(self._quoting)
        message: _Message | None = None
        try:
            async for events in self._events(name, reader):
                for event in events:
                    if isinstance(event, Begin):
                        message = _Message(event, self._spool)
                    elif isinstance(event, End):
                        assert message is not None
                        made, message = message, None
                        if made.size > MAX_OCTETS:
                            made.spool.close()
                            progress.problems.append(f"{name}: a message is too large")
                            continue
                        yield await made.letter(name, seen)
                    else:
                        assert message is not None
                        await message.add(event)
        finally:
            if message is not None:
                message.spool.close()

    async def _events(self, name: str, reader: Reader) -> AsyncIterator[list[Event]]:
        async for block in self._boxes[name]():
            yield _read(name, reader.feed(block))
        yield _read(name, reader.end())


def _read(name: str, events: Iterable[Event]) -> list[Event]:
    try:
        return list(events)
    except NotMboxError as error:
        raise TransferError(f"{name}: {error}") from error


class _Message:
    """A message while it is read."""

    def __init__(self, begin: Begin, folder: str | None) -> None:
        self._begin = begin
        self._sha256 = hashlib.sha256()
        self.spool = SpoolFile(folder)
        self.size = 0

    async def add(self, block: bytes) -> None:
        self.size += len(block)
        if self.size <= MAX_OCTETS:
            self._sha256.update(block)
            await self.spool.write(block)

    async def letter(self, name: str, seen: Counter[str]) -> Letter:
        digest = self._sha256.hexdigest()
        seen[digest] += 1
        begin = self._begin
        flags, keywords = flags_of(
            [*(_LETTERS[c] for c in begin.status if c in _LETTERS), *begin.keywords.split()]
        )
        content = await content_of(self.spool)
        key = key_of("mbox", name, digest, seen[digest])
        return Letter(key, content, flags, keywords, begin.date, begin.uid)


async def _unknown(
    waiting: list[Letter], known: Known, progress: Progress
) -> AsyncIterator[Letter]:
    """Take all that waits; those that are new are given."""
    there = await known([letter.key for letter in waiting])
    while waiting:
        letter = waiting.pop(0)
        if letter.key in there:
            progress.known += 1
            letter.close()
        else:
            yield letter


class _Reopened:
    """A file, which can be read more than once."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            with file_below(self._root, self._path) as file:
                async for block in blocks(file):
                    yield block
        except OSError as error:
            raise TransferError(f"{self._path}: {error.strerror}; run this again") from error


def _fault(root: Path, file: Path) -> str:
    """Why it cannot be read; empty when it can."""
    try:
        file_below(root, file).close()
    except OSError as error:
        return f"{file}: {error.strerror}; passed over"
    return ""


def _name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return mailbox_name(parts)
