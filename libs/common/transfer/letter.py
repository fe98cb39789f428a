"""What goes between a mailbox and the world, and how a source gives it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from libs.common.blobstore.spool import SpoolFile
from libs.common.mailstore.flags import MAX_KEYWORDS, from_names

IN_MEMORY = 1024 * 1024
"""Octets of a message up to which it is one piece of bytes."""
_KEYWORD = re.compile(r"[A-Za-z0-9!#$&'+,./:;<=>?@\[^_`|}~-]{1,100}")
MAX_OCTETS = 256 * 1024 * 1024
"""Larger messages are left out, and named."""


class TransferError(Exception):
    """Why it cannot go on, and what to do."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A mailbox of a source."""

    name: str
    """As it is called here."""
    uidvalidity: int = 0
    """0: it has none."""
    special_use: str = ""
    subscribed: bool = True


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way in."""

    key: str
    content: bytes | SpoolFile
    flags: int = 0
    keywords: str = ""
    internaldate: float | None = None
    uid: int = 0

    @property
    def size(self) -> int:
        """Octets."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    def close(self) -> None:
        """The content is needed no more."""
        if isinstance(self.content, SpoolFile):
            self.content.close()


@dataclass(slots=True)
class Progress:
    """How far it is."""

    mailbox: str = ""
    messages: int = 0
    """Brought, or written."""
    octets: int = 0
    known: int = 0
    """Passed over, for they were there already."""
    total: int = 0
    """Messages of all mailboxes, as far as that is known beforehand; 0: not known."""
    mailboxes: int = 0
    problems: list[str] = field(default_factory=list)
    """What was left out, and why."""


Known = Callable[[Iterable[str]], Awaitable[set[str]]]
"""Which of these keys were brought in before."""


class Source(Protocol):
    """Where mail comes from."""

    async def folders(self) -> list[Folder]:
        """Its mailboxes."""
        ...

    def letters(
        self, folder: Folder, known: Known, progress: Progress
    ) -> AsyncGenerator[Letter, None]:
        """The messages of one that are not known yet, in the order of their UIDs.

        Those that are known, and those that cannot be had, are noted in `progress`.
        """
        ...


def flags_of(names: Iterable[str]) -> tuple[int, str]:
    """(bits, keywords) of what a source names; what IMAP could not say again is left out."""
    good = [name for name in names if name.startswith("\\") or _KEYWORD.fullmatch(name)]
    return from_names(good[:MAX_KEYWORDS])


def key_of(*parts: str | bytes | int) -> str:
    """A hash of what names a message in its source."""
    digest = hashlib.sha256()
    for part in parts:
        octets = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(octets) + octets)
    return digest.hexdigest()[:32]
