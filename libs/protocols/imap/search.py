"""SEARCH criteria as a tree (RFC 9051 §6.4.4); evaluation is the role's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from libs.protocols.imap.parse import ParseError, Parser, Ranges

MAX_DEPTH = 20
MAX_KEYS = 300
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(rb'"?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})"?')
_FLAGS = {
    "ANSWERED": "\\Answered",
    "DELETED": "\\Deleted",
    "DRAFT": "\\Draft",
    "FLAGGED": "\\Flagged",
    "SEEN": "\\Seen",
}
_FIELDS = ("BCC", "CC", "FROM", "SUBJECT", "TO")
_DATES = ("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE")


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of two."""

    left: Key
    right: Key


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    key: Key


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A flag or keyword is set."""

    name: str


@dataclass(frozen=True, slots=True)
class InSet:
    """A sequence number or UID is in a set."""

    ranges: Ranges
    uid: bool


@dataclass(frozen=True, slots=True)
class Text:
    """Octets occur, without regard to case: where is `BODY`, `TEXT`, or a header field."""

    where: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Day:
    """A date compared: `BEFORE`, `ON` or `SINCE`; sent or received."""

    how: str
    start: float
    sent: bool


@dataclass(frozen=True, slots=True)
class Size:
    """LARGER or SMALLER."""

    larger: bool
    octets: int


@dataclass(frozen=True, slots=True)
class ModSeq:
    """A MODSEQ at least this (RFC 7162 §3.1.5)."""

    value: int


@dataclass(frozen=True, slots=True)
class All:
    """Everything."""


Key = And | Or | Not | HasFlag | InSet | Text | Day | Size | ModSeq | All


_CHARSET = re.compile(rb"CHARSET ", re.IGNORECASE)
_RETURN = re.compile(rb"RETURN \(", re.IGNORECASE)
_ENTRY = re.compile(rb'"/flags/[^"\r\n]{1,200}" (?:priv|shared|all) ', re.IGNORECASE)
RESULTS = ("MIN", "MAX", "COUNT", "ALL")


@dataclass(frozen=True, slots=True)
class Search:
    """A SEARCH command."""

    key: Key
    charset: str = ""
    """In upper case; empty: none was named."""
    results: tuple[str, ...] | None = None
    """What RETURN asks for (RFC 4731); None: the old response."""


def parse_search(parser: Parser) -> Search:
    """The command after its name, up to its end."""
    results = _results(parser) if parser.try_match(_RETURN) else None
    charset = ""
    if parser.try_match(_CHARSET):
        charset = parser.astring().decode("ascii", "replace").upper()
        parser.space()
    key = _Criteria(parser).sequence(0)
    parser.end()
    return Search(key, charset, results)


def _results(parser: Parser) -> tuple[str, ...]:
    found: list[str] = []
    while not parser.take(b")"):
        word = parser.atom()
        if word not in RESULTS:
            raise ParseError(f"RETURN knows {', '.join(RESULTS)}")
        found.append(word)
        if not parser.peek(b")"):
            parser.space()
    parser.space()
    # RFC 4731 §3.1: an empty list means ALL.
    return tuple(dict.fromkeys(found)) or ("ALL",)


class _Criteria:
    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._count = 0

    def sequence(self, depth: int) -> Key:
        keys = [self.key(depth)]
        while self._parser.take(b" "):
            keys.append(self.key(depth))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def key(self, depth: int) -> Key:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_KEYS:
            raise ParseError(f"at most {MAX_KEYS} keys, {MAX_DEPTH} deep")
        parser = self._parser
        if parser.take(b"("):
            inner = self.sequence(depth + 1)
            parser.expect(b")")
            return inner
        if parser.digit_next():
            return InSet(parser.sequence_set(), False)
        return self._named(parser.atom(), depth)

    def _named(self, name: str, depth: int) -> Key:
        match name:
            case "ALL" | "OLD":
                return All()
            case "NEW" | "RECENT":
                return Not(All())
            case "NOT":
                return Not(self._next(depth))
            case "OR":
                return Or(self._next(depth), self._next(depth))
            case "UID":
                self._parser.space()
                return InSet(self._parser.sequence_set(), True)
        return self._flag(name) or self._value(name)

    def _next(self, depth: int) -> Key:
        self._parser.space()
        return self.key(depth + 1)

    def _flag(self, name: str) -> Key | None:
        if name in _FLAGS:
            return HasFlag(_FLAGS[name])
        if name.startswith("UN") and name[2:] in _FLAGS:
            return Not(HasFlag(_FLAGS[name[2:]]))
        if name in ("KEYWORD", "UNKEYWORD"):
            self._parser.space()
            found = HasFlag(self._parser.flag())
            return found if name == "KEYWORD" else Not(found)
        return None

    def _value(self, name: str) -> Key:
        parser = self._parser
        if name in _FIELDS or name in ("BODY", "TEXT"):
            parser.space()
            return Text(name.lower() if name in _FIELDS else name, parser.astring())
        if name == "HEADER":
            parser.space()
            field = parser.astring().decode("ascii", "replace").lower()
            parser.space()
            return Text(field, parser.astring())
        if name in _DATES:
            parser.space()
            return Day(name.removeprefix("SENT"), _day(parser), name.startswith("SENT"))
        if name in ("LARGER", "SMALLER"):
            parser.space()
            return Size(name == "LARGER", parser.number())
        if name == "MODSEQ":
            parser.space()
            # RFC 7162 §3.1.5: we keep one MODSEQ for all flags, so which flag is asked is the same.
            parser.try_match(_ENTRY)
            return ModSeq(parser.number())
        raise ParseError(f"unknown search key {name[:40]}")


def _day(parser: Parser) -> float:
    match = parser.match(_DATE, "a date like 1-Feb-2026")
    try:
        month = _MONTHS.index(match[2].decode().lower()) + 1
        return datetime(int(match[3]), month, int(match[1]), tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ParseError("not a date") from error
