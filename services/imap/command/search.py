"""SEARCH (RFC 9051 §6.4.4): flags, dates and sizes from the view, texts from rows and records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from libs.common.mailstore import Entry, Stored, to_names
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.search import (
    All,
    And,
    Day,
    HasFlag,
    InSet,
    Key,
    ModSeq,
    Not,
    Or,
    Size,
    Text,
    parse_search,
)
from libs.protocols.message.date import parse_date
from libs.protocols.message.header import parse_header
from libs.protocols.message.searchable import contains, header_contains
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

_DAY = 86400.0
_BATCH = 100
_CHARSETS = ("UTF-8", "US-ASCII")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One message with what is known of it so far."""

    entry: Entry
    content: bytes | None
    """Prefix and content, when the search needs texts."""
    sets: Mapping[InSet, frozenset[int]]


async def search(session: Session, parser: Parser) -> Done:
    """SEARCH."""
    return await _search(session, parser, uid=False)


async def uid_search(session: Session, parser: Parser) -> Done:
    """UID SEARCH."""
    return await _search(session, parser, uid=True)


async def _search(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    if parser.take(b"CHARSET ") or parser.take(b"charset "):
        charset = parser.astring().decode("ascii", "replace").upper()
        if charset not in _CHARSETS:
            raise No("charsets are UTF-8 and US-ASCII", "BADCHARSET (UTF-8 US-ASCII)")
        parser.space()
    if parser.peek(b"RETURN"):
        raise ParseError("SEARCH RETURN is not supported here")
    key = parse_search(parser)
    parser.end()
    view = session.selected()
    found = await _find(session, key)
    numbers = found if uid else [view.number(number) for number in found]
    session.untagged(b" ".join([b"SEARCH", *(b"%d" % number for number in numbers)]))
    return Done("found")


async def _find(session: Session, key: Key) -> list[int]:
    """UIDs that match, ascending."""
    view = session.selected()
    sets = {item: frozenset(view.select(item.ranges, uid=item.uid)) for item in _sets(key)}
    if not _needs_text(key):
        return [uid for uid in view.uids if _holds(key, Candidate(view.entries[uid], None, sets))]
    # What can be ruled out without its text is never read.
    maybe = [uid for uid in view.uids if _possible(key, Candidate(view.entries[uid], None, sets))]
    found = []
    for start in range(0, len(maybe), _BATCH):
        part = maybe[start : start + _BATCH]
        for stored in await session.gateway.store.stored(view.mailbox.id, part):
            content = await _read(session, stored, key)
            candidate = Candidate(view.entries[stored.uid], content, sets)
            if await asyncio.to_thread(_holds, key, candidate):
                found.append(stored.uid)
    return found


async def _read(session: Session, stored: Stored, key: Key) -> bytes:
    size = len(stored.prefix) + (stored.content_size if _needs_body(key) else stored.header_size)
    return await session.gateway.store.read(stored, 0, size)


def _children(key: Key) -> tuple[Key, ...]:
    match key:
        case And(keys):
            return keys
        case Or(left, right):
            return left, right
        case Not(inner):
            return (inner,)
    return ()


def _sets(key: Key) -> list[InSet]:
    own = [key] if isinstance(key, InSet) else []
    return own + [item for child in _children(key) for item in _sets(child)]


def _is_text(key: Key) -> bool:
    return isinstance(key, Text) or (isinstance(key, Day) and key.sent)


def _needs_text(key: Key) -> bool:
    return _is_text(key) or any(_needs_text(child) for child in _children(key))


def _needs_body(key: Key) -> bool:
    if isinstance(key, Text):
        return key.where in ("BODY", "TEXT")
    return any(_needs_body(child) for child in _children(key))


def _possible(key: Key, candidate: Candidate) -> bool:
    """False only when the key cannot hold, whatever the text is."""
    match key:
        case And(keys):
            return all(_possible(child, candidate) for child in keys)
        case Or(left, right):
            return _possible(left, candidate) or _possible(right, candidate)
        case _:
            return _needs_text(key) or _holds(key, candidate)


def _holds(key: Key, candidate: Candidate) -> bool:
    match key:
        case And(keys):
            return all(_holds(child, candidate) for child in keys)
        case Or(left, right):
            return _holds(left, candidate) or _holds(right, candidate)
        case Not(inner):
            return not _holds(inner, candidate)
        case All():
            return True
    return _holds_leaf(key, candidate)


def _holds_leaf(key: Key, candidate: Candidate) -> bool:
    entry = candidate.entry
    match key:
        case HasFlag(name):
            names = to_names(entry.flags, entry.keywords)
            return name.lower() in (known.lower() for known in names)
        case InSet():
            return entry.uid in candidate.sets[key]
        case Size(larger, octets):
            return entry.size > octets if larger else entry.size < octets
        case ModSeq(value):
            return entry.modseq >= value
        case Day(how, start, sent):
            at = _sent_at(candidate) if sent else entry.internaldate
            return at is not None and _on_day(how, start, at)
        case Text(where, value):
            return _has_text(where, value, candidate.content or b"")
    raise AssertionError(f"not a leaf: {key}")


def _on_day(how: str, start: float, at: float) -> bool:
    if how == "BEFORE":
        return at < start
    if how == "ON":
        return start <= at < start + _DAY
    return at >= start


def _sent_at(candidate: Candidate) -> float | None:
    for field in parse_header(candidate.content or b"").fields:
        if field.name.lower() == b"date":
            moment = parse_date(field.value)
            # RFC 9051 §6.4.4: the date as it was written, without regard to the zone.
            return None if moment is None else moment.epoch + moment.zone * 60
    return None


def _has_text(where: str, value: bytes, content: bytes) -> bool:
    text = value.decode("utf-8", "replace")
    if where in ("BODY", "TEXT"):
        return contains(content, text, body_only=where == "BODY")
    return header_contains(content, where, text)
