"""What FETCH asks for (RFC 9051 §6.4.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.write import astring

_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_SIMPLE = frozenset(
    ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "UID", "MODSEQ")
)
_RFC822 = {
    "RFC822": ("", False),
    "RFC822.HEADER": ("HEADER", True),
    "RFC822.TEXT": ("TEXT", False),
}
_NAME = re.compile(rb"[A-Za-z0-9.]+")
_SECTION = re.compile(
    rb"((?:[1-9][0-9]{0,4}\.?)*)(HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?",
    re.IGNORECASE,
)
_CHANGEDSINCE = re.compile(rb" \(CHANGEDSINCE ([0-9]{1,20})\)", re.IGNORECASE)
_UNCHANGEDSINCE = re.compile(rb"\(UNCHANGEDSINCE ([0-9]{1,20})\) ", re.IGNORECASE)
_FIELD_NAME = re.compile(rb"[!-9;-~]{1,200}")
MAX_ITEMS = 50
MAX_FIELDS = 200


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the message: BODY[...] and what is like it."""

    label: bytes
    """How the response names it."""
    part: str
    """`1.2`, `HEADER`, `1.TEXT`; empty: the whole message."""
    fields: tuple[bytes, ...] = ()
    """Lower-case names of HEADER.FIELDS."""
    invert: bool = False
    """HEADER.FIELDS.NOT."""
    peek: bool = False
    start: int = 0
    count: int | None = None


FetchItem = str | Section


def parse_items(parser: Parser) -> tuple[FetchItem, ...]:
    """The items of a FETCH command."""
    items: list[FetchItem] = []
    if not parser.take(b"("):
        name = parser.match(_NAME, "a FETCH item")[0].decode("ascii").upper()
        if name in _MACROS:
            return _MACROS[name]
        return (_item(parser, name),)
    while not parser.take(b")"):
        items.append(_item(parser, parser.match(_NAME, "a FETCH item")[0].decode("ascii").upper()))
        if len(items) > MAX_ITEMS:
            raise ParseError(f"at most {MAX_ITEMS} items")
        if not parser.peek(b")"):
            parser.space()
    return tuple(items)


def parse_changedsince(parser: Parser) -> int | None:
    """The modifier `(CHANGEDSINCE n)`, if it is there (RFC 7162 §3.1.4.1)."""
    return parser.number_after(_CHANGEDSINCE) if parser.peek(b" (") else None


def parse_unchangedsince(parser: Parser) -> int | None:
    """STORE's modifier `(UNCHANGEDSINCE n) `, if it is there (RFC 7162 §3.1.3)."""
    return parser.number_after(_UNCHANGEDSINCE) if parser.peek(b"(") else None


def _item(parser: Parser, name: str) -> FetchItem:
    if name in ("BODY", "BODY.PEEK") and parser.peek(b"["):
        return _section(parser, peek=name == "BODY.PEEK")
    if name in _RFC822:
        part, peek = _RFC822[name]
        return Section(name.encode(), part, peek=peek)
    if name not in _SIMPLE:
        raise ParseError(f"unknown FETCH item {name[:40]}")
    return name


def _section(parser: Parser, *, peek: bool) -> Section:
    parser.expect(b"[")
    match = parser.match(_SECTION, "a section")
    numbers, word = match[1].decode(), (match[2] or b"").decode("ascii").upper()
    if bool(word) != numbers.endswith(".") and numbers:
        raise ParseError("bad section")
    fields: tuple[bytes, ...] = ()
    text = (numbers + word).encode()
    if word.startswith("HEADER.FIELDS"):
        fields, listed = _fields(parser)
        text += b" (" + listed + b")"
    parser.expect(b"]")
    part = numbers + ("HEADER" if word.startswith("HEADER") else word)
    label, start, count = b"BODY[" + text + b"]", 0, None
    if parser.take(b"<"):
        start = parser.number()
        parser.expect(b".")
        count = parser.number()
        parser.expect(b">")
        label += b"<%d>" % start
    return Section(label, part, fields, word.endswith("NOT"), peek, start, count)


def _fields(parser: Parser) -> tuple[tuple[bytes, ...], bytes]:
    parser.space()
    parser.expect(b"(")
    names: list[bytes] = []
    while not parser.take(b")"):
        names.append(parser.astring())
        if not _FIELD_NAME.fullmatch(names[-1]):
            raise ParseError("not the name of a header field")
        if len(names) > MAX_FIELDS:
            raise ParseError(f"at most {MAX_FIELDS} header fields")
        if not parser.peek(b")"):
            parser.space()
    # The names come back in the response, so they are written anew, never echoed.
    return tuple(name.lower() for name in names), b" ".join(astring(name) for name in names)
