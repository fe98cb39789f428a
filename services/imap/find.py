"""Finding the messages that match: from memory, then from ENVELOPEs, then from what is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from libs.common.mailstore import Entry, Stored
from libs.common.mailstore.search_index import Sought
from libs.protocols.imap.search import Day, InSet, Key, Text
from libs.protocols.message.header import MAX_HEADER_OCTETS
from libs.protocols.message.searchable import seekable
from services.imap.criteria import Indexed, Known, Test, compiled, is_in_envelope, walk
from services.imap.outcome import Bad, No
from services.imap.view import View

if TYPE_CHECKING:
    from services.imap.session import Session

_BATCH = 500
_BATCH_OCTETS = 4 * 1024 * 1024
"""Octets of messages that are looked at in one hop to a thread."""


async def find(session: Session, key: Key, view: View | None = None) -> list[int]:
    """UIDs that match, ascending; in the selected mailbox, or through another view."""
    view = view or session.selected()
    keys = walk(key)
    if session.uidonly and any(isinstance(one, InSet) and not one.uid for one in keys):
        raise Bad("this session has UIDs only", "UIDREQUIRED")
    known = await _known(session, keys, view)
    test = compiled(key, known)
    found, doubt = _sift(test, view.current(), None)
    if doubt and (indexed := await _indexed(session, keys, view)):
        test = compiled(key, replace(known, indexed=indexed))
        more, doubt = _sift(test, doubt, None)
        found += more
    if doubt:
        more, doubt = await _by_envelope(session, test, doubt, view)
        found += more
    if doubt:
        async with session.gateway.searches:
            found += await _by_text(session, test, doubt, view, whole=_needs_body(keys))
    return sorted(found)


async def _known(session: Session, keys: Sequence[Key], view: View) -> Known:
    saved_days = any(isinstance(one, Day) and one.of == "saved" for one in keys)
    savedates = await session.gateway.store.savedates(view.mailbox.id) if saved_days else {}
    # Made once: hashing thousands of ranges for each message would be too much.
    sets = {
        id(one): frozenset(view.select(one.ranges, uid=one.uid))
        for one in keys
        if isinstance(one, InSet)
    }
    return Known(lambda one: sets[id(one)], frozenset(session.saved), time.time(), savedates)


async def _indexed(session: Session, keys: Sequence[Key], view: View) -> dict[int, Indexed]:
    """What the index says of each text in the criteria, as far as it can be asked."""
    asked = []
    for one in keys:
        if isinstance(one, Text) and one.where in ("BODY", "TEXT"):
            text = seekable(one.value.decode("utf-8", "replace"))
            if text is not None:
                asked.append((id(one), Sought(text, one.where == "BODY")))
    if not asked:
        return {}
    answers = await session.gateway.store.search(view.mailbox.id, [sought for _, sought in asked])
    return {
        name: Indexed(answers.upto, answers.opaque, found)
        for (name, _), found in zip(asked, answers.found, strict=True)
        if answers.upto
    }


def _sift(
    test: Test, entries: Sequence[Entry], envelopes: dict[str, tuple[bytes, bytes]] | None
) -> tuple[list[int], list[Entry]]:
    """(UIDs that match, entries of which more must be known)."""
    found, doubt = [], []
    for entry in entries:
        shown = envelopes.get(entry.mail_id) if envelopes is not None else None
        answer = test(entry, shown[0] if shown else None, None)
        if answer:
            found.append(entry.uid)
        elif answer is None:
            doubt.append(entry)
    return found, doubt


async def _by_envelope(
    session: Session, test: Test, entries: Sequence[Entry], view: View
) -> tuple[list[int], list[Entry]]:
    found: list[int] = []
    doubt: list[Entry] = []
    for start in range(0, len(entries), _BATCH):
        part = entries[start : start + _BATCH]
        shown = await session.gateway.summaries.of(view.mailbox.id, part)
        more, left = _sift(test, part, shown)
        found += more
        # What has no ENVELOPE any more was expunged meanwhile.
        doubt += [entry for entry in left if entry.mail_id in shown]
    return found, doubt


async def _by_text(
    session: Session, test: Test, entries: Sequence[Entry], view: View, *, whole: bool
) -> list[int]:
    settings, store = session.gateway.settings, session.gateway.store
    left = settings.max_search_octets
    end = time.monotonic() + settings.max_search_seconds
    by_uid = {entry.uid: entry for entry in entries}
    found: list[int] = []
    waiting: list[tuple[Entry, bytes, bytes]] = []
    octets = 0
    for start in range(0, len(entries), _BATCH):
        uids = [entry.uid for entry in entries[start : start + _BATCH]]
        for stored in await store.stored(view.mailbox.id, uids):
            content = await _read(session, stored, whole=whole)
            left -= len(content)
            if left < 0 or time.monotonic() > end:
                raise No("this search reads too much; please narrow it", "LIMIT")
            waiting.append((by_uid[stored.uid], stored.envelope, content))
            octets += len(content)
            if octets >= _BATCH_OCTETS:
                found += await asyncio.to_thread(_matching, test, waiting)
                waiting, octets = [], 0
    return found + await asyncio.to_thread(_matching, test, waiting)


def _matching(test: Test, candidates: Sequence[tuple[Entry, bytes, bytes]]) -> list[int]:
    return [entry.uid for entry, envelope, content in candidates if test(entry, envelope, content)]


async def _read(session: Session, stored: Stored, *, whole: bool) -> bytes:
    size = stored.content_size if whole else min(stored.header_size, MAX_HEADER_OCTETS)
    return await session.gateway.store.read(stored, 0, len(stored.prefix) + size)


def _needs_body(keys: Sequence[Key]) -> bool:
    texts = [one for one in keys if isinstance(one, Text) and not is_in_envelope(one)]
    return any(one.where in ("BODY", "TEXT") for one in texts)
