"""What FETCH asks for (RFC 9051 §6.4.5), and how STORE is bound (RFC 7162)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.partial import Partial, parse_partial
from libs.protocols.imap.write import astring

_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_SIMPLE = frozenset(
    (
        *("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "UID"),
        *("MODSEQ", "PREVIEW", "SAVEDATE", "EMAILID", "THREADID"),
    )
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
_BINARY_SECTION = re.compile(rb"\[((?:[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4})*)?)\]")
_LAZY = re.compile(rb" \(LAZY\)", re.IGNORECASE)
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


@dataclass(frozen=True, slots=True)
class Binary:
    """A part with its transfer encoding undone: BINARY[...] and BINARY.SIZE[...] (RFC 3516)."""

    label: bytes
    part: str
    peek: bool = False
    size_only: bool = False
    start: int = 0
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Modifiers:
    """What stands after the items of a FETCH."""

    changedsince: int | None = None
    """Only messages whose MODSEQ is above (RFC 7162 §3.1.4.1)."""
    vanished: bool = False
    """And the UIDs that are gone since (RFC 7162 §3.2.6)."""
    partial: Partial | None = None
    """Only so many of the messages (RFC 9394 §3.4)."""


FetchItem = str | Section | Binary


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


def parse_modifiers(parser: Parser) -> Modifiers:
    """` (CHANGEDSINCE n VANISHED PARTIAL 1:9)`, if it is there."""
    if not parser.take(b" ("):
        return Modifiers()
    since: int | None = None
    partial: Partial | None = None
    vanished = False
    while True:
        match parser.atom():
            case "CHANGEDSINCE":
                parser.space()
                since = parser.number()
            case "VANISHED":
                vanished = True
            case "PARTIAL":
                parser.space()
                partial = parse_partial(parser)
            case word:
                raise ParseError(f"unknown FETCH modifier {word[:40]}")
        if parser.take(b")"):
            break
        parser.space()
    if vanished and since is None:
        raise ParseError("VANISHED needs CHANGEDSINCE (RFC 7162 §3.2.6)")
    return Modifiers(since, vanished, partial)


def parse_unchangedsince(parser: Parser) -> int | None:
    """STORE's modifier `(UNCHANGEDSINCE n) `, if it is there (RFC 7162 §3.1.3)."""
    return parser.number_after(_UNCHANGEDSINCE) if parser.peek(b"(") else None


def _item(parser: Parser, name: str) -> FetchItem:
    if name in ("BODY", "BODY.PEEK") and parser.peek(b"["):
        return _section(parser, peek=name == "BODY.PEEK")
    if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE"):
        return _binary(parser, name)
    if name in _RFC822:
        part, peek = _RFC822[name]
        return Section(name.encode(), part, peek=peek)
    if name not in _SIMPLE:
        raise ParseError(f"unknown FETCH item {name[:40]}")
    if name == "PREVIEW":
        # RFC 8970 §3.1: LAZY lets us leave it out; we always have it.
        parser.try_match(_LAZY)
    return name


def parse_section(text: bytes) -> Section:
    """What stands between the brackets of BODY[...]."""
    parser = Parser(b"[" + text + b"]")
    section = _section(parser, peek=True)
    parser.end()
    return section


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
    start, count = _range(parser)
    label = b"BODY[" + text + b"]" + (b"" if count is None else b"<%d>" % start)
    return Section(label, part, fields, word.endswith("NOT"), peek, start, count)


def _binary(parser: Parser, name: str) -> Binary:
    part = parser.match(_BINARY_SECTION, "a part like [1.2]")[1]
    if name == "BINARY.SIZE":
        return Binary(b"BINARY.SIZE[" + part + b"]", part.decode(), peek=True, size_only=True)
    start, count = _range(parser)
    label = b"BINARY[" + part + b"]" + (b"" if count is None else b"<%d>" % start)
    return Binary(label, part.decode(), name == "BINARY.PEEK", False, start, count)


def _range(parser: Parser) -> tuple[int, int | None]:
    if not parser.take(b"<"):
        return 0, None
    start = parser.number()
    parser.expect(b".")
    count = parser.number()
    parser.expect(b">")
    return start, count


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
