"""Parsing one whole command: atoms, strings, literals, lists and sets (RFC 9051 §9)."""

from __future__ import annotations

import re

from libs.protocols.imap.mutf7 import decode_name

_TAG = re.compile(rb"[!#$&',-\[\]-z|}~^_`:;<=>?@A-Z0-9./a-z]{1,200}")
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~\x80-\xff]+")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_LITERAL = re.compile(rb"~?\{([0-9]{1,20})\+?\}\r?\n")
_SET = re.compile(
    rb"(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?(?:,(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?)*"
)
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]{1,200}")
_ESCAPED = re.compile(rb"\\(.)")
_SET_START = frozenset(b"%c" % sign for sign in b"0123456789*")
LAST = 0xFFFFFFFF
"""Stands for `*` in a set."""
MAX_SET = 10_000
"""Ranges in one set."""


class ParseError(ValueError):
    """The client broke the grammar; the text says where."""


Ranges = tuple[tuple[int, int], ...]


class Parser:
    """Reads one command from left to right."""

    def __init__(self, raw: bytes, *, utf8: bool = False) -> None:
        self.raw = raw
        self._utf8 = utf8  # Mailbox names are UTF-8 alone, never modified UTF-7.
        self._at = 0
        end = len(raw)
        if raw.endswith(b"\n"):
            end -= 2 if raw.endswith(b"\r\n") else 1
        self._end = end

    def match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """What the pattern finds here; `ParseError` says what was expected."""
        match = pattern.match(self.raw, self._at, self._end)
        if match is None:
            raise ParseError(f"expected {what} at octet {self._at}")
        self._at = match.end()
        return match

    def try_match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """The same, or None and nothing is read."""
        match = pattern.match(self.raw, self._at, self._end)
        if match is not None:
            self._at = match.end()
        return match

    def tag(self) -> str:
        """The tag of the command."""
        return self.match(_TAG, "a tag")[0].decode("ascii")

    def atom(self) -> str:
        """An atom, in upper case."""
        return self.match(_ATOM, "a word")[0].decode("ascii").upper()

    def at_end(self) -> bool:
        """Is nothing left?"""
        return self._at >= self._end

    def end(self) -> None:
        """Nothing more may follow."""
        if not self.at_end():
            raise ParseError(f"unexpected text at octet {self._at}")

    def space(self) -> None:
        """One space."""
        if not self.take(b" "):
            raise ParseError(f"expected a space at octet {self._at}")

    def peek(self, text: bytes) -> bool:
        """Does this come next?"""
        return self._at + len(text) <= self._end and self.raw.startswith(text, self._at)

    def take(self, text: bytes) -> bool:
        """Go past this if it comes next."""
        if self.peek(text):
            self._at += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        """This must come next."""
        if not self.take(text):
            raise ParseError(f"expected {text.decode('ascii')!r} at octet {self._at}")

    def number(self) -> int:
        """A number below 2^63."""
        return self._bounded(self.match(_NUMBER, "a number")[0])

    def number_after(self, pattern: re.Pattern[bytes]) -> int:
        """The number that is the pattern's only group."""
        return self._bounded(self.match(pattern, "a modifier that we know")[1])

    @staticmethod
    def _bounded(digits: bytes) -> int:
        value = int(digits)
        if value >= 1 << 63:
            raise ParseError("a number is too large")
        return value

    def _string(self) -> bytes | None:
        if self.peek(b'"'):
            return _ESCAPED.sub(rb"\1", self.match(_QUOTED, "a quoted string")[1])
        if self.peek(b"{") or self.peek(b"~{"):
            size = int(self._match_literal()[1])
            data = self.raw[self._at : self._at + size]
            self._at += size
            return data
        return None

    def _match_literal(self) -> re.Match[bytes]:
        match = _LITERAL.match(self.raw, self._at)
        if match is None:
            raise ParseError(f"expected a literal at octet {self._at}")
        self._at = match.end()
        return match

    def string(self) -> bytes:
        """A quoted string or a literal."""
        value = self._string()
        if value is None:
            raise ParseError(f"expected a string at octet {self._at}")
        return value

    def astring(self) -> bytes:
        """An atom or a string."""
        value = self._string()
        return self.match(_ASTRING, "an atom or a string")[0] if value is None else value

    def nstring(self) -> bytes | None:
        """A string, or NIL."""
        if self.peek(b"NIL") or self.peek(b"nil"):
            self._at += 3
            return None
        return self.string()

    def mailbox(self) -> str:
        """A mailbox name."""
        return decode_name(self.astring(), utf8=self._utf8)

    def pattern(self) -> str:
        """A mailbox pattern of LIST."""
        value = self._string()
        value = self.match(_LIST, "a pattern")[0] if value is None else value
        return decode_name(value, utf8=self._utf8)

    def sequence_set(self) -> Ranges:
        """`1:3,7,9:*` as ranges; `*` is `LAST`."""
        text = self.match(_SET, "a sequence set")[0]
        ranges = []
        for part in text.split(b","):
            first, _, last = part.partition(b":")
            low = LAST if first == b"*" else int(first)
            high = low if not last else LAST if last == b"*" else int(last)
            ranges.append((min(low, high), max(low, high)))
        if len(ranges) > MAX_SET:
            raise ParseError(f"a set has at most {MAX_SET} ranges")
        return tuple(ranges)

    def flag(self) -> str:
        """One flag or keyword."""
        return self.match(_FLAG, "a flag")[0].decode("ascii")

    def flags(self) -> list[str]:
        """`(\\Seen keyword)`, or the same without parentheses as STORE allows."""
        if not self.take(b"("):
            found = [self.flag()]
            while self.take(b" "):
                found.append(self.flag())
            return found
        found = []
        while not self.take(b")"):
            found.append(self.flag())
            if not self.peek(b")"):
                self.space()
        return found

    def digit_next(self) -> bool:
        """Does a number or `*` come next?"""
        return self.raw[self._at : min(self._at + 1, self._end)] in _SET_START

    def rest(self) -> bytes:
        """Everything that is left."""
        text, self._at = self.raw[self._at : self._end], self._end
        return text
