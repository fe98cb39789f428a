"""SEARCH criteria as functions: does a message match, as far as it is known so far?

Flags, dates and sizes are known from the entry, addresses and subject from the ENVELOPE; only
what is left in doubt has its text read.  A function answers None while it cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from libs.common.mailstore import Entry, from_names
from libs.protocols.imap.search import (
    All,
    And,
    Day,
    EmailId,
    HasFlag,
    InSet,
    Key,
    ModSeq,
    Not,
    Or,
    Saved,
    Size,
    Text,
    Within,
)
from libs.protocols.message.date import parse_date
from libs.protocols.message.read_envelope import read_envelope, subject_of
from libs.protocols.message.searchable import contains, header_contains

_DAY = 86400.0
# What RFC 9051 §6.4.4 searches in the ENVELOPE, and which of these the header has just like that.
_IN_ENVELOPE = frozenset(("subject", "from", "to", "cc", "bcc"))
_SAME_IN_ENVELOPE = frozenset(("subject", "message-id", "in-reply-to"))
_ESCAPED = frozenset('"\\')
_WORDS = re.compile(r"[a-z0-9]+")
_DATE = re.compile(rb'\("([^"\\]*)"')


@dataclass(frozen=True, slots=True)
class Known:
    """What the criteria refer to beside the messages."""

    select: Callable[[InSet], Container[int]]
    """The UIDs of a set in the criteria."""
    saved: Container[int]
    """What `$` stands for."""
    now: float
    savedates: Mapping[int, float]
    """By UID; only when the criteria ask for them."""
    indexed: Mapping[int, Indexed] = field(default_factory=dict)
    """By `id` of a text criterion: what the index says of it."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """Which messages have a text in them, of those that the index knows."""

    upto: int
    """The last UID that it knows of."""
    opaque: frozenset[str]
    """Messages that it does not know, by `mail_id`."""
    found: frozenset[str]


Test = Callable[[Entry, bytes | None, bytes | None], bool | None]


def compiled(key: Key, known: Known) -> Test:
    """The function for the criteria.  Recursion is bounded by the parser's MAX_DEPTH."""
    match key:
        case And(keys):
            return _all([compiled(child, known) for child in keys])
        case Or(left, right):
            return _any([compiled(left, known), compiled(right, known)])
        case Not(inner):
            return _not(compiled(inner, known))
        case Text():
            return _text(key, known.indexed.get(id(key)))
        case Day():
            return _day(key, known)
    return _of_entry(key, known)


def _all(tests: list[Test]) -> Test:
    def test(entry: Entry, envelope: bytes | None, content: bytes | None) -> bool | None:
        answer: bool | None = True
        for one in tests:
            found = one(entry, envelope, content)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def _any(tests: list[Test]) -> Test:
    def test(entry: Entry, envelope: bytes | None, content: bytes | None) -> bool | None:
        answer: bool | None = False
        for one in tests:
            found = one(entry, envelope, content)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return test


def _not(inner: Test) -> Test:
    def test(entry: Entry, envelope: bytes | None, content: bytes | None) -> bool | None:
        found = inner(entry, envelope, content)
        return None if found is None else not found

    return test


def _entry_test(holds: Callable[[Entry], bool]) -> Test:
    return lambda entry, _, __: holds(entry)


def _of_entry(key: Key, known: Known) -> Test:
    match key:
        case HasFlag(name):
            return _flag(name)
        case Within(older, seconds):
            return _within(older, known.now - seconds)
        case InSet():
            chosen = known.select(key)
            return _entry_test(lambda entry: entry.uid in chosen)
        case Saved():
            saved = known.saved
            return _entry_test(lambda entry: entry.uid in saved)
        case Size(larger, octets):
            if larger:
                return _entry_test(lambda entry: entry.size > octets)
            return _entry_test(lambda entry: entry.size < octets)
        case ModSeq(value):
            return _entry_test(lambda entry: entry.modseq >= value)
        case EmailId(name):
            return _entry_test(lambda entry: "M" + entry.mail_id == name)
    assert isinstance(key, All)
    return _entry_test(lambda _: True)


def _within(older: bool, edge: float) -> Test:
    if older:
        return _entry_test(lambda entry: entry.internaldate <= edge)
    return _entry_test(lambda entry: entry.internaldate >= edge)


def _flag(name: str) -> Test:
    bits, keyword = from_names([name.lower()])
    if not keyword:
        return _entry_test(lambda entry: entry.flags & bits != 0)
    return _entry_test(lambda entry: keyword in _keywords(entry.keywords))


@lru_cache(maxsize=4096)
def _keywords(together: str) -> frozenset[str]:
    return frozenset(together.lower().split())


def _day(key: Day, known: Known) -> Test:
    how, start = key.how, key.start

    def on(at: float | None) -> bool:
        if at is None:
            return False
        if how == "BEFORE":
            return at < start
        return at >= start and (how != "ON" or at < start + _DAY)

    if key.of == "received":
        return _entry_test(lambda entry: on(entry.internaldate))
    if key.of == "saved":
        return _entry_test(lambda entry: on(known.savedates.get(entry.uid)))
    return lambda _, envelope, __: None if envelope is None else on(_sent_at(envelope))


def _sent_at(envelope: bytes) -> float | None:
    quick = _DATE.match(envelope)
    moment = parse_date(quick[1] if quick else read_envelope(envelope).date)
    # RFC 9051 §6.4.4: the date as it was written, without regard to the zone.
    return None if moment is None else moment.epoch + moment.zone * 60


def _pieces(where: str, text: str) -> list[bytes]:
    """What must stand in an ENVELOPE as it is, if the text does and nothing there is encoded."""
    if where in _SAME_IN_ENVELOPE and not set(text) & _ESCAPED:
        return [text.encode()]
    # An address is in pieces there.
    words: list[str] = _WORDS.findall(text)
    return [word.encode() for word in words]


def _field_reader(where: str) -> Callable[[bytes], str]:
    return lambda envelope: read_envelope(envelope).text(where) or ""


def _text(key: Text, indexed: Indexed | None) -> Test:
    where, text = key.where, key.value.decode("utf-8", "replace")
    folded = text.casefold()

    quick = _pieces(where, folded)
    read = subject_of if where == "subject" else _field_reader(where)

    def in_envelope(_: Entry, envelope: bytes | None, __: bytes | None) -> bool | None:
        if envelope is None:
            return None
        if b"=?" not in envelope and envelope.isascii():
            lower = envelope.lower()
            if not all(piece in lower for piece in quick):
                return False
        return folded in read(envelope).casefold()

    def in_header(_: Entry, __: bytes | None, content: bytes | None) -> bool | None:
        return None if content is None else header_contains(content, where, text)

    def in_text(entry: Entry, _: bytes | None, content: bytes | None) -> bool | None:
        if indexed and entry.uid <= indexed.upto and entry.mail_id not in indexed.opaque:
            return entry.mail_id in indexed.found
        if content is None:
            return None
        return contains(content, text, body_only=where == "BODY")

    if where in ("BODY", "TEXT"):
        return in_text
    return in_envelope if is_in_envelope(key) else in_header


def is_in_envelope(key: Text) -> bool:
    """Can it be answered from the ENVELOPE alone?

    An empty text asks whether there is such a field, which an ENVELOPE does not tell.
    """
    known = _SAME_IN_ENVELOPE if key.in_header else _IN_ENVELOPE
    return key.where in known and key.value != b""


def children(key: Key) -> tuple[Key, ...]:
    """The criteria inside of one."""
    match key:
        case And(keys):
            return keys
        case Or(left, right):
            return left, right
        case Not(inner):
            return (inner,)
    return ()


def walk(key: Key) -> list[Key]:
    """A criterion and all that are inside of it."""
    return [key, *(found for child in children(key) for found in walk(child))]
