"""GETMETADATA and SETMETADATA as they are asked (RFC 5464)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.protocols.imap.parse import ParseError, Parser

MAX_ENTRIES = 100
"""Entries named in one command."""
_ENTRY = re.compile(r"/(?:private|shared)(?:/[^/*%\x00-\x19\x7f]{1,100}){0,20}")
INFINITE = -1
_LEVELS = 2


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """A GETMETADATA command."""

    mailbox: str
    """Empty: the account itself."""
    entries: tuple[str, ...]
    maxsize: int | None = None
    depth: int = 0
    """0, 1 or INFINITE: how far below the entries."""

    def wants(self, entry: str) -> bool:
        """Is this entry asked for?"""
        for name in self.entries:
            if entry == name:
                return True
            if self.depth and entry.startswith(name + "/"):
                below = entry[len(name) + 1 :]
                if self.depth == INFINITE or "/" not in below:
                    return True
        return False


def parse_getmetadata(parser: Parser) -> GetMetadata:
    """` (MAXSIZE 1024 DEPTH 1) INBOX (/shared/comment)`, up to its end."""
    parser.space()
    maxsize, depth = None, 0
    if parser.peek(b"("):
        maxsize, depth = _options(parser)
        parser.space()
    mailbox = parser.mailbox()
    parser.space()
    entries = parse_entries(parser)
    parser.end()
    return GetMetadata(mailbox, entries, maxsize, depth)


def _options(parser: Parser) -> tuple[int | None, int]:
    maxsize, depth = None, 0
    parser.expect(b"(")
    while True:
        word = parser.atom()
        parser.space()
        if word == "MAXSIZE":
            maxsize = parser.number()
        elif word == "DEPTH":
            value = parser.atom()
            if value not in ("0", "1", "INFINITY"):
                raise ParseError("DEPTH is 0, 1 or infinity")
            depth = INFINITE if value == "INFINITY" else int(value)
        else:
            raise ParseError(f"unknown option {word[:40]}")
        if parser.take(b")"):
            return maxsize, depth
        parser.space()


def parse_setmetadata(parser: Parser) -> tuple[str, dict[str, bytes | None]]:
    """` INBOX (/private/comment "x" /shared/comment NIL)`, up to its end."""
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    parser.expect(b"(")
    values: dict[str, bytes | None] = {}
    while True:
        name = _entry(parser)
        if name.count("/") < _LEVELS:
            raise ParseError("an entry is named like /private/comment or /shared/comment")
        parser.space()
        values[name] = parser.nstring()
        if len(values) > MAX_ENTRIES:
            raise ParseError(f"at most {MAX_ENTRIES} entries")
        if parser.take(b")"):
            break
        parser.space()
    parser.end()
    return mailbox, values


def parse_entries(parser: Parser) -> tuple[str, ...]:
    """One entry name, or several in parentheses."""
    if not parser.take(b"("):
        return (_entry(parser),)
    found = [_entry(parser)]
    while parser.take(b" "):
        found.append(_entry(parser))
        if len(found) > MAX_ENTRIES:
            raise ParseError(f"at most {MAX_ENTRIES} entries")
    parser.expect(b")")
    return tuple(found)


def _entry(parser: Parser) -> str:
    # RFC 5464 §3.1: names are case-insensitive.
    name = parser.astring().decode("ascii", "replace").lower()
    if not _ENTRY.fullmatch(name):
        raise ParseError("an entry is named like /private/comment or /shared/comment")
    return name
