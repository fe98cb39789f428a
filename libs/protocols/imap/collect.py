"""Collecting commands from a stream: lines, with the octets of their literals in between.

A literal is refused by its announced size before a `+` invites it (RFC 9051 §4.3).  The message
of an APPEND is never collected: it is handed on in pieces as it comes, so that its size does not
matter here.  Before login everything is small, for anybody can send it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 64 * 1024
"""Octets of a command outside of literals."""
MAX_LITERAL = 64 * 1024
"""Octets of a literal in any command but APPEND."""
MAX_COMMAND = 256 * 1024
"""Octets of a whole command but for the messages of APPEND."""
MAX_STRANGER_LITERAL = 4096
"""Octets of a literal before login."""
MAX_STRANGER_COMMAND = 8192
"""Octets of a whole command before login."""

_LITERAL = re.compile(rb"\{(\d{1,20})(\+?)\}\r?\n\Z")
_APPEND = re.compile(
    rb"[^ \r\n]{1,200} (?:APPEND |(?:UID )?REPLACE [^ \r\n]{1,20} )", re.IGNORECASE
)
_TAG = re.compile(rb"[!#$&',-\[\]-z|}~^_`:;<=>?@A-Z0-9./a-z]{1,200}(?= )")


@dataclass(frozen=True, slots=True)
class Continue:
    """The client waits for a `+` before it sends its literal."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A whole command, literals included, with its last CRLF."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of an APPEND comes next: take it by `octets`, then ask for `next` again."""

    raw: bytes
    """The command up to here (for a second message: since the first one's end), with the CRLF."""
    size: int
    """Octets of the message."""
    invited: bool
    """False: the client waits for a `+`, and sends nothing without it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last message of an APPEND has come; `raw` is the rest of the command."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is too large; `fatal` when its rest cannot be skipped."""

    tag: str
    text: str
    fatal: bool
    code: str = ""
    """A response code for a NO; empty: the command is BAD."""


Collected = Continue | Complete | Incoming | Ended | Refused


class Collector:
    """Takes octets in any pieces; gives commands one by one."""

    def __init__(self, max_append: int) -> None:
        self.trusted = False
        """Set it at login: what is sent may be larger from then on."""
        self._max_append = max_append
        self._buffer = bytearray()
        self._at = 0  # What is before it belongs to the command that is being collected.
        self._looked = 0  # There is no line break before it.
        self._missing = 0  # Octets of a literal that are still to come.
        self._streamed = 0  # Octets of a message that are still to be handed on.
        self._appending = False

    def receive(self, data: bytes) -> None:
        """The next octets from the client."""
        self._buffer += data

    @property
    def waiting(self) -> int:
        """Octets that are here and not yet part of a command."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget everything (STARTTLS)."""
        self._buffer.clear()
        self.forget()

    def drain(self) -> bytes:
        """All that is here and not yet part of a command."""
        return self._take(len(self._buffer))

    def forget(self) -> None:
        """Give up the command under way: what comes next is a new one."""
        self._at = self._looked = self._missing = self._streamed = 0
        self._appending = False

    def take_line(self) -> bytes | None:
        """One line that is not a command (SASL answers, DONE), or None when it is not here yet."""
        end = self._buffer.find(b"\n")
        return self._take(end + 1) if end >= 0 else None

    def octets(self) -> bytes:
        """What is here of the message that comes; empty when more must be received first."""
        data = self._take(min(self._streamed, len(self._buffer)))
        self._streamed -= len(data)
        return data

    @property
    def streaming(self) -> bool:
        """Is a message not wholly taken?"""
        return self._streamed > 0

    def next(self) -> Collected | None:
        """What to do next, or None when more octets are needed."""
        while not self._streamed:
            if self._missing:
                if len(self._buffer) < self._at + self._missing:
                    return None
                self._at += self._missing
                self._looked = self._at
                self._missing = 0
            end = self._buffer.find(b"\n", self._looked)
            if end < 0:
                self._looked = len(self._buffer)
                return self._too_long()
            match = _LITERAL.search(self._buffer, max(self._at, end - 30), end + 1)
            start = self._at
            self._at = self._looked = end + 1
            if self._too_large(0):
                return self._refuse("the command is too long", fatal=bool(match and match[2]))
            if match is None:
                return self._complete()
            answer = self._literal(int(match[1]), bool(match[2]), start, match.start())
            if answer is not None:
                return answer
        return None

    def _too_long(self) -> Refused | None:
        most = MAX_LINE if self.trusted else MAX_STRANGER_COMMAND
        if len(self._buffer) - self._at > most or self._too_large(len(self._buffer) - self._at):
            return self._refuse("the command line is too long", fatal=True)
        return None

    def _too_large(self, more: int) -> bool:
        return self._at + more > (MAX_COMMAND if self.trusted else MAX_STRANGER_COMMAND)

    def _complete(self) -> Complete | Ended:
        raw, appended = self._take(self._at), self._appending
        self.forget()
        return Ended(raw) if appended else Complete(raw)

    def _literal(self, size: int, invited: bool, start: int, at: int) -> Collected | None:
        if self.trusted and self._is_message(start, at):
            if size > self._max_append:
                text = f"a message has at most {self._max_append} octets"
                return self._refuse(text, fatal=invited, code="TOOBIG")
            raw = self._take(self._at)
            self.forget()
            self._streamed, self._appending = size, True
            return Incoming(raw, size, invited)
        most = MAX_LITERAL if self.trusted else MAX_STRANGER_LITERAL
        if size > most or self._too_large(size):
            # A non-synchronising literal comes whatever we say, so the connection must end.
            return self._refuse(f"a literal has at most {most} octets here", fatal=invited)
        self._missing = size
        return None if invited else Continue()

    def _is_message(self, start: int, at: int) -> bool:
        """Is the literal announced at `at` the message of an APPEND, and not the mailbox name?"""
        if self._appending:
            return True
        head = _APPEND.match(self._buffer)
        return head is not None and not (start == 0 and at == head.end())

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _refuse(self, text: str, *, fatal: bool, code: str = "") -> Refused:
        found = _TAG.match(self._buffer)
        tag = found[0].decode("ascii") if found else ""
        # After a fatal one nothing that comes can be told apart from the rest of that command.
        del self._buffer[: len(self._buffer) if fatal else self._at]
        self.forget()
        return Refused(tag, text, fatal, code)
