"""Collecting commands from a stream: lines, with the octets of their literals in between.

A literal is refused by its announced size before a `+` invites it (RFC 9051 §4.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 64 * 1024
"""Octets of a command outside of literals."""
MAX_SMALL_LITERAL = 64 * 1024
"""Octets of a literal in any command but APPEND."""
MAX_LITERALS = 200
"""Literals in one command."""

_LITERAL = re.compile(rb"\{(\d{1,20})(\+?)\}\r?\n\Z")
_APPEND = re.compile(rb"\A[^ ]{1,200} APPEND ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Continue:
    """The client waits for a `+` before it sends its literal."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A whole command, literals included, with its last CRLF."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that is too large; `fatal` when its rest cannot be skipped."""

    tag: str
    text: str
    fatal: bool


Collected = Continue | Complete | Refused


class Collector:
    """Takes octets in any pieces; gives commands one by one."""

    def __init__(self, max_append: int) -> None:
        self._max_append = max_append
        self._buffer = bytearray()
        self._at = 0
        self._literals = 0
        self._missing = 0

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
        self._restart()

    def take_line(self) -> bytes | None:
        """One line that is not a command (SASL answers, DONE), or None when it is not here yet."""
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def next(self) -> Collected | None:
        """What to do next, or None when more octets are needed."""
        while True:
            if self._missing:
                if len(self._buffer) < self._at + self._missing:
                    return None
                self._at += self._missing
                self._missing = 0
            end = self._buffer.find(b"\n", self._at)
            if end < 0:
                if len(self._buffer) - self._at > MAX_LINE:
                    return self._refuse("the command line is too long", fatal=True)
                return None
            match = _LITERAL.search(self._buffer, max(self._at, end - 30), end + 1)
            self._at = end + 1
            if match is None:
                return self._complete()
            answer = self._literal(int(match[1]), bool(match[2]))
            if answer is not None:
                return answer

    def _complete(self) -> Complete:
        raw = bytes(self._buffer[: self._at])
        del self._buffer[: self._at]
        self._restart()
        return Complete(raw)

    def _restart(self) -> None:
        self._at = self._literals = self._missing = 0

    def _literal(self, size: int, non_synchronising: bool) -> Collected | None:
        self._literals += 1
        append = _APPEND.match(self._buffer)
        most = self._max_append if append else MAX_SMALL_LITERAL
        if size > most or self._literals > MAX_LITERALS:
            # A non-synchronising literal comes whatever we say, so the connection must end.
            return self._refuse(
                f"a literal has at most {most} octets here", fatal=non_synchronising
            )
        self._missing = size
        return None if non_synchronising else Continue()

    def _refuse(self, text: str, *, fatal: bool) -> Refused:
        tag = bytes(self._buffer[:200]).split(b" ", 1)[0].decode("ascii", "replace")
        del self._buffer[: self._at]
        self._restart()
        return Refused(tag, text, fatal)
