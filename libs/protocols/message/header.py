"""The header section of a message or part: its end, its fields, and unfolding.

Lines that are no field (no colon, a space in the name, an mbox `From ` line) are passed over
together with their continuation lines.  Line breaks are CRLF or bare LF, also mixed.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

MAX_HEADER_OCTETS = 262_144
"""Octets of one header section that are looked at; fields after them are not seen."""

MAX_FIELDS = 2_000
"""Fields of one header section that are looked at."""

# Possessive quantifiers keep each step linear.  `^` with a start position still needs a line
# break (or the start of everything) in front, so no field begins in the middle of a line.
_FIELD = re.compile(
    rb"^([!-9;-~\x80-\xff]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)", re.MULTILINE
)
_FIRST_WINDOW = 8_192


class Field(NamedTuple):
    """One header field."""

    name: bytes
    """In lower case."""
    value: bytes
    """All between the colon and the line break at the end, folds included."""
    start: int
    """Offset of the name in the content."""
    end: int
    """Offset after the line break."""


class Header(NamedTuple):
    """A header section: its fields in order, and where it is in the content."""

    fields: tuple[Field, ...]
    start: int
    end: int
    """Where the body starts: after the blank line, which belongs to the section."""
    limited: str
    """Why not all fields are here, or the empty string."""
    firsts: dict[bytes, bytes]
    """The values of the first fields of each name, as `fields` has them."""

    def first(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of this (lower case) name."""
        value = self.firsts.get(name)
        return None if value is None else unfold(value)

    def all(self, name: bytes) -> list[bytes]:
        """The unfolded values of all fields of this (lower case) name."""
        if name not in self.firsts:
            return []
        return [unfold(one.value) for one in self.fields if one.name == name]


def unfold(value: bytes) -> bytes:
    """The value without its folds and outer white space (RFC 5322 §2.2.3)."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r")


def header_end(content: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the body starts: the offset after the first blank line, or `end` without one."""
    end = len(content) if end is None else end
    if content.startswith((b"\n", b"\r\n"), start, end):
        return content.find(b"\n", start, end) + 1
    # Two searches over windows that double: neither runs far past the line that the other finds.
    window, at = _FIRST_WINDOW, start
    while at < end:
        stop = min(end, at + window)
        crlf = content.find(b"\n\r\n", at, stop)
        lf = content.find(b"\n\n", at, stop if crlf < 0 else crlf + 1)
        if lf >= 0:
            return lf + 2
        if crlf >= 0:
            return crlf + 3
        # The blank line may lie across the end of the window.
        at = end if stop == end else stop - 2
        window *= 2
    return end


def parse_header(content: bytes, start: int = 0, end: int | None = None) -> Header:
    """The header section that begins at `start`; what comes at `end` or later is not looked at."""
    body = header_end(content, start, end)
    stop = min(body, start + MAX_HEADER_OCTETS)
    limited = "header octets" if stop < body else ""
    matches = _FIELD.finditer(content, start, stop)
    fields = []
    firsts: dict[bytes, bytes] = {}
    for match in islice(matches, MAX_FIELDS):
        name, value = match.groups()
        name = name.lower()
        if value[-1:] == b"\r":
            value = value[:-1]
        firsts.setdefault(name, value)
        fields.append(Field(name, value, *match.span()))
    if len(fields) == MAX_FIELDS and next(matches, None):
        limited = "header fields"
    return Header(tuple(fields), start, body, limited, firsts)
