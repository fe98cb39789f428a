"""SEARCH criteria as a tree (RFC 9051 §6.4.4); evaluation is the role's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from libs.protocols.imap.parse import ParseError, Parser, Ranges
from libs.protocols.imap.partial import Partial, parse_partial

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
_DATES_OF = (("SENT", "sent"), ("SAVED", "saved"), ("", "received"))
_DATES = frozenset(p + how for p, _ in _DATES_OF for how in ("BEFORE", "ON", "SINCE"))


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
    in_header: bool = False
    """Asked by HEADER: in the field as it stands, not in the ENVELOPE made of it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """In the result that was saved last: `$` (RFC 5182)."""


@dataclass(frozen=True, slots=True)
class Day:
    """A date compared: `BEFORE`, `ON` or `SINCE`."""

    how: str
    start: float
    of: str = "received"
    """`received`, `sent` or `saved` (RFC 8514)."""


@dataclass(frozen=True, slots=True)
class Within:
    """Received so many seconds ago at most, or (`older`) at least (RFC 5032)."""

    older: bool
    seconds: int


@dataclass(frozen=True, slots=True)
class EmailId:
    """The object with this EMAILID (RFC 8474 §6)."""

    value: str


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


Key = And | Or | Not | HasFlag | InSet | Saved | Text | Day | Within | Size | ModSeq | EmailId | All


_CHARSET = re.compile(rb"CHARSET ", re.IGNORECASE)
_RETURN = re.compile(rb"RETURN \(", re.IGNORECASE)
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
_ENTRY = re.compile(rb'"/flags/[^"\r\n]{1,200}" (?:priv|shared|all) ', re.IGNORECASE)
RESULTS = ("MIN", "MAX", "COUNT", "ALL", "SAVE", "PARTIAL")


@dataclass(frozen=True, slots=True)
class Results:
    """What RETURN asks for (RFC 4731, RFC 5182, RFC 9394)."""

    words: tuple[str, ...]
    """Of RESULTS; never empty."""
    partial: Partial | None = None

    @property
    def only_save(self) -> bool:
        """Nothing is to be told."""
        return self.words == ("SAVE",)


@dataclass(frozen=True, slots=True)
class Search:
    """A SEARCH command."""

    key: Key
    charset: str = ""
    """In upper case; empty: none was named."""
    results: Results | None = None
    """None: the old response."""


def parse_search(parser: Parser) -> Search:
    """The command after its name, up to its end."""
    results = parse_results(parser)
    charset = ""
    if parser.try_match(_CHARSET):
        charset = parse_charset(parser)
    return Search(parse_key(parser), charset, results)


def parse_charset(parser: Parser) -> str:
    """`UTF-8 ` in upper case, with the space after it."""
    charset = parser.astring().decode("ascii", "replace").upper()
    parser.space()
    return charset


def parse_key(parser: Parser) -> Key:
    """The criteria, up to the end of the command."""
    key = _Criteria(parser).sequence(0)
    parser.end()
    return key


def parse_results(parser: Parser) -> Results | None:
    """`RETURN (MIN PARTIAL 1:100) `, if it is there."""
    if not parser.try_match(_RETURN):
        return None
    found: list[str] = []
    partial = None
    while not parser.take(b")"):
        word = parser.atom()
        if word not in RESULTS:
            raise ParseError(f"RETURN knows {', '.join(RESULTS)}")
        found.append(word)
        if word == "PARTIAL":
            if partial is not None:
                raise ParseError("one PARTIAL is enough (RFC 9394 §3.1)")
            parser.space()
            partial = parse_partial(parser)
        if not parser.peek(b")"):
            parser.space()
    parser.space()
    if partial is not None and "ALL" in found:
        raise ParseError("PARTIAL and ALL exclude each other (RFC 9394 §3.1)")
    # RFC 4731 §3.1: an empty list means ALL.
    return Results(tuple(dict.fromkeys(found)) or ("ALL",), partial)


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
        if parser.take(b"$"):
            return Saved()
        if parser.digit_next():
            return InSet(parser.sequence_set(), False)
        return self._named(parser.atom(), depth)

    def _named(self, name: str, depth: int) -> Key:
        match name:
            case "ALL" | "OLD" | "SAVEDATESUPPORTED":
                return All()
            case "NEW" | "RECENT":
                return Not(All())
            case "EMAILID" | "THREADID":
                self._parser.space()
                value = self._parser.match(_OBJECT_ID, "an object id")[0].decode()
                # No message has a THREADID here, so none matches.
                return EmailId(value) if name == "EMAILID" else Not(All())
            case "NOT":
                return Not(self._next(depth))
            case "OR":
                return Or(self._next(depth), self._next(depth))
            case "UID":
                self._parser.space()
                if self._parser.take(b"$"):
                    return Saved()
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
            return Text(field, parser.astring(), in_header=True)
        if name in _DATES:
            parser.space()
            prefix, of = next((p, of) for p, of in _DATES_OF if name.startswith(p))
            return Day(name.removeprefix(prefix), _day(parser), of)
        if name in ("OLDER", "YOUNGER"):
            parser.space()
            seconds = parser.number()
            if not seconds:
                raise ParseError("an interval is at least one second (RFC 5032 §3)")
            return Within(name == "OLDER", seconds)
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
