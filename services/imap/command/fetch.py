"""FETCH (RFC 9051 §6.4.5): which messages, and from where each item comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from libs.common.mailstore import Entry, Flag
from libs.protocols.imap.fetch import Binary, FetchItem, Modifiers, parse_items, parse_modifiers
from libs.protocols.imap.parse import ParseError, Parser, Ranges
from services.imap.outcome import Bad, Done
from services.imap.respond import ENTRY_ITEMS, entry_item, respond, uid_and_flags
from services.imap.summaries import Shown

if TYPE_CHECKING:
    from services.imap.session import Session

_BATCH = 500
"""Messages whose rows are read, or whose lines are made, at a time."""
_SHOWN_ITEMS = frozenset(("ENVELOPE", "BODYSTRUCTURE"))
_MOST_ASKED = {"UID", "FLAGS"}
_NOTHING: Shown = (b"", b"")


async def fetch(session: Session, parser: Parser) -> Done:
    """FETCH."""
    return await _fetch(session, parser, uid=False)


async def uid_fetch(session: Session, parser: Parser) -> Done:
    """UID FETCH."""
    return await _fetch(session, parser, uid=True)


async def _fetch(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    ranges, by_uid = session.set_of(parser, uid=uid)
    parser.space()
    items = parse_items(parser)
    modifiers = parse_modifiers(parser)
    parser.end()
    _check(session, modifiers, uid=uid)
    view = session.selected()
    if modifiers.vanished:
        await _tell_vanished(session, ranges, modifiers)
    chosen = view.select(ranges, uid=by_uid)
    uids, items = _narrowed(session, chosen, items, modifiers)
    if uid and "UID" not in items and not session.uidonly:
        items = ("UID", *items)
    if "MODSEQ" in items:
        session.use_condstore()
    seen = [] if view.read_only else await _mark_seen(session, items, uids)
    if seen:
        items = (*items, *(name for name in _told_with_seen(session) if name not in items))
    names = [item for item in items if isinstance(item, str)]
    if len(names) == len(items) and ENTRY_ITEMS.union(_SHOWN_ITEMS).issuperset(names):
        await _respond_from_memory(session, names, uids)
    else:
        await _respond_from_rows(session, items, uids)
    return Done("fetched")


def _check(session: Session, modifiers: Modifiers, *, uid: bool) -> None:
    if modifiers.vanished and not (uid and session.qresync):
        raise Bad("VANISHED is for UID FETCH after ENABLE QRESYNC (RFC 7162 §3.2.6)")
    if modifiers.partial is not None and not uid:
        raise ParseError("PARTIAL is for UID FETCH (RFC 9394 §3.4)")


def _narrowed(
    session: Session, uids: list[int], items: tuple[FetchItem, ...], modifiers: Modifiers
) -> tuple[Sequence[int], tuple[FetchItem, ...]]:
    chosen: Sequence[int] = uids
    if (since := modifiers.changedsince) is not None:
        entries = session.selected().entries
        chosen = [number for number in uids if entries[number].modseq > since]
        items = items if "MODSEQ" in items else (*items, "MODSEQ")
    if modifiers.partial is not None:
        chosen = modifiers.partial.of(chosen)
    return chosen, items


async def _tell_vanished(session: Session, ranges: Ranges, modifiers: Modifiers) -> None:
    since = modifiers.changedsince or 0
    gone = await session.gateway.store.vanished(session.selected().mailbox.id, since)
    session.tell_vanished(
        [u for u in gone if any(low <= u <= high for low, high in ranges)], earlier=True
    )


def _told_with_seen(session: Session) -> tuple[str, ...]:
    return ("FLAGS", "MODSEQ") if session.condstore else ("FLAGS",)


async def _mark_seen(
    session: Session, items: Sequence[FetchItem], uids: Sequence[int]
) -> Sequence[int]:
    """BODY[...] sets \\Seen, BODY.PEEK[...] does not."""
    if all(isinstance(item, str) or item.peek for item in items):
        return []
    view = session.selected()
    unseen = [uid for uid in uids if not view.entries[uid].flags & Flag.SEEN]
    if unseen:
        entries, _ = await session.gateway.store.store(
            view.mailbox.id, unseen, "add", Flag.SEEN, ""
        )
        for entry in entries:
            view.know(entry)
        await view.shared.refresh()
    return unseen


async def _respond_from_memory(session: Session, names: Sequence[str], uids: Sequence[int]) -> None:
    """Whole mailboxes, many messages to a write; only what memory lacks comes from rows."""
    view, entries = session.selected(), session.selected().entries
    line = _line(names)
    summaries = session.gateway.summaries
    head = b"* %d " + session.fetch_word + b" (%b)\r\n"
    contiguous = len(uids) == len(view.uids)
    for start in range(0, len(uids), _BATCH):
        part = [entries[uid] for uid in uids[start : start + _BATCH]]
        numbers: Sequence[int]
        if session.uidonly:
            numbers = [entry.uid for entry in part]
        elif contiguous:
            numbers = range(start + 1, start + 1 + len(part))
        else:
            numbers = [view.number(entry.uid) for entry in part]
        if _SHOWN_ITEMS.isdisjoint(names):
            lines = [
                head % (number, line(entry, _NOTHING))
                for number, entry in zip(numbers, part, strict=True)
            ]
        else:
            shown = await summaries.of(view.mailbox.id, part)
            lines = [
                head % (number, line(entry, shown[entry.mail_id]))
                for number, entry in zip(numbers, part, strict=True)
                if entry.mail_id in shown
            ]
        session.stream.add(b"".join(lines))
        if session.stream.full:
            await session.stream.flush()


def _line(names: Sequence[str]) -> Callable[[Entry, Shown], bytes]:
    """What makes the inside of a response; one function for each item, called in a row."""
    if set(names) == _MOST_ASKED:
        return uid_and_flags
    parts = [_part(name) for name in names]
    if len(parts) == 1:
        return parts[0]
    return lambda entry, shown: b" ".join([part(entry, shown) for part in parts])


def _part(name: str) -> Callable[[Entry, Shown], bytes]:
    if name == "ENVELOPE":
        return lambda _, shown: b"ENVELOPE " + shown[0]
    if name == "BODYSTRUCTURE":
        return lambda _, shown: b"BODYSTRUCTURE " + shown[1]
    make = entry_item(name)
    return lambda entry, _: make(entry)


async def _respond_from_rows(
    session: Session, items: Sequence[FetchItem], uids: Sequence[int]
) -> None:
    view = session.selected()
    if any(isinstance(item, Binary) for item in items):
        # A part is decoded in memory, so not for everybody at once.
        async with session.gateway.searches:
            await _respond_batches(session, items, uids, view.mailbox.id)
    else:
        await _respond_batches(session, items, uids, view.mailbox.id)


async def _respond_batches(
    session: Session, items: Sequence[FetchItem], uids: Sequence[int], mailbox_id: int
) -> None:
    entries = session.selected().entries
    for start in range(0, len(uids), _BATCH):
        part = uids[start : start + _BATCH]
        for stored in await session.gateway.store.stored(mailbox_id, part):
            await respond(session, items, entries[stored.uid], stored)
