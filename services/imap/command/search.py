"""SEARCH (RFC 9051 §6.4.4): flags, dates and sizes from the view, texts from rows and records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from libs.common.mailstore import Entry, Stored, from_names
from libs.protocols.imap import write
from libs.protocols.imap.parse import Parser
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
from libs.protocols.message.header import MAX_HEADER_OCTETS, parse_header
from libs.protocols.message.searchable import contains, header_contains
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

_DAY = 86400.0
_BATCH = 200
_BATCH_OCTETS = 4 * 1024 * 1024
"""Octets of messages that are looked at in one hop to a thread."""
_CHARSETS = ("", "UTF-8", "US-ASCII")
Sets = Mapping[int, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One message with what is known of it so far."""

    entry: Entry
    content: bytes | None
    """Prefix and content, when the search needs texts."""
    sets: Sets
    """By the id() of each `InSet`: hashing thousands of ranges for each message is too much."""


async def search(session: Session, parser: Parser) -> Done:
    """SEARCH."""
    return await _search(session, parser, uid=False)


async def uid_search(session: Session, parser: Parser) -> Done:
    """UID SEARCH."""
    return await _search(session, parser, uid=True)


async def _search(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    asked = parse_search(parser)
    if asked.charset not in _CHARSETS:
        raise No("charsets are UTF-8 and US-ASCII", "BADCHARSET (UTF-8 US-ASCII)")
    view = session.selected()
    found = await _find(session, asked.key)
    numbers = found if uid else [view.number(number) for number in found]
    modseq = b""
    if has_modseq(asked.key):
        session.use_condstore()
        if found:
            # RFC 7162 §3.1.5: the highest MODSEQ of all that was found.
            modseq = b"MODSEQ %d" % max(view.entries[number].modseq for number in found)
    if asked.results is None:
        line = b" ".join([b"SEARCH", *(b"%d" % number for number in numbers)])
        session.untagged(line + (b" (%b)" % modseq if modseq else b""))
    else:
        tag = parser.raw.split(b" ", 1)[0]
        line = esearch(tag, asked.results, numbers, uid=uid)
        session.untagged(line + (b" " + modseq if modseq else b""))
    return Done("found")


def has_modseq(key: Key) -> bool:
    """Does the search ask for a MODSEQ anywhere?"""
    return isinstance(key, ModSeq) or any(has_modseq(child) for child in _children(key))


def esearch(tag: bytes, results: Sequence[str], numbers: Sequence[int], *, uid: bool) -> bytes:
    """The ESEARCH response; without a match there is only a COUNT (RFC 4731 §3.1)."""
    parts = [b'ESEARCH (TAG "%b")' % tag]
    if uid:
        parts.append(b"UID")
    if numbers and "MIN" in results:
        parts.append(b"MIN %d" % numbers[0])
    if numbers and "MAX" in results:
        parts.append(b"MAX %d" % numbers[-1])
    if "COUNT" in results:
        parts.append(b"COUNT %d" % len(numbers))
    if numbers and "ALL" in results:
        parts.append(b"ALL " + write.number_set(numbers))
    return b" ".join(parts)


async def _find(session: Session, key: Key) -> list[int]:
    """UIDs that match, ascending."""
    view = session.selected()
    sets = {id(item): frozenset(view.select(item.ranges, uid=item.uid)) for item in _sets(key)}
    if not _needs_text(key):
        return [uid for uid in view.uids if _holds(key, Candidate(view.entries[uid], None, sets))]
    # What can be ruled out without its text is never read.
    maybe = [uid for uid in view.uids if _possible(key, Candidate(view.entries[uid], None, sets))]
    async with session.gateway.searches:
        return await _read_and_find(session, key, sets, maybe)


async def _read_and_find(session: Session, key: Key, sets: Sets, maybe: Sequence[int]) -> list[int]:
    view, settings = session.selected(), session.gateway.settings
    whole, left = _needs_body(key), settings.max_search_octets
    end = time.monotonic() + settings.max_search_seconds
    found: list[int] = []
    waiting: list[Candidate] = []
    octets = 0
    for start in range(0, len(maybe), _BATCH):
        for stored in await session.gateway.store.stored(
            view.mailbox.id, maybe[start : start + _BATCH]
        ):
            content = await _read(session, stored, whole=whole)
            left -= len(content)
            if left < 0 or time.monotonic() > end:
                raise No("this search reads too much; please narrow it", "LIMIT")
            waiting.append(Candidate(view.entries[stored.uid], content, sets))
            octets += len(content)
            if octets >= _BATCH_OCTETS:
                found += await asyncio.to_thread(_matching, key, waiting)
                waiting, octets = [], 0
    return found + await asyncio.to_thread(_matching, key, waiting)


def _matching(key: Key, candidates: Sequence[Candidate]) -> list[int]:
    return [one.entry.uid for one in candidates if _holds(key, one)]


async def _read(session: Session, stored: Stored, *, whole: bool) -> bytes:
    size = stored.content_size if whole else min(stored.header_size, MAX_HEADER_OCTETS)
    return await session.gateway.store.read(stored, 0, len(stored.prefix) + size)


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
            bits, keyword = _flag(name)
            return bool(entry.flags & bits) or (
                keyword != "" and keyword in entry.keywords.lower().split()
            )
        case InSet():
            return entry.uid in candidate.sets[id(key)]
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


@lru_cache(maxsize=1024)
def _flag(name: str) -> tuple[int, str]:
    return from_names([name.lower()])


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
