"""SORT and THREAD (RFC 5256, RFC 5957): from rows and ENVELOPEs, no message is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from libs.common.mailstore import Entry
from libs.protocols.imap.parse import Parser
from libs.protocols.imap.sort import Criterion, parse_sort, parse_thread
from libs.protocols.message.base_subject import base_subject
from libs.protocols.message.date import parse_date
from libs.protocols.message.read_envelope import EnvelopeFields, read_envelope
from libs.protocols.message.thread import ALGORITHMS, Threaded, thread_text
from services.imap.command.search import check_charset, esearch, to_save
from services.imap.find import find
from services.imap.outcome import Bad, Done
from services.imap.view import View

if TYPE_CHECKING:
    from services.imap.session import Session

_FROM_ENTRY: dict[str, Callable[[Entry], Any]] = {
    "ARRIVAL": lambda entry: entry.internaldate,
    "SIZE": lambda entry: entry.size,
}


def _subject(entry: Entry, envelope: EnvelopeFields) -> str:
    return base_subject(envelope.subject)[0].casefold()


def _date(entry: Entry, envelope: EnvelopeFields) -> float:
    moment = parse_date(envelope.date)
    # RFC 5256 §2.2: without a Date that can be read, it is when the message came.
    return entry.internaldate if moment is None else moment.epoch


def _local_part(name: str) -> Callable[[Entry, EnvelopeFields], str]:
    def key(_: Entry, envelope: EnvelopeFields) -> str:
        addresses = envelope.addresses(name)
        return addresses[0].local_part.casefold() if addresses else ""

    return key


def _display(name: str) -> Callable[[Entry, EnvelopeFields], str]:
    def key(_: Entry, envelope: EnvelopeFields) -> str:
        addresses = envelope.addresses(name)
        return addresses[0].display.casefold() if addresses else ""

    return key


_FROM_ENVELOPE: dict[str, Callable[[Entry, EnvelopeFields], Any]] = {
    "SUBJECT": _subject,
    "DATE": _date,
    "FROM": _local_part("from"),
    "TO": _local_part("to"),
    "CC": _local_part("cc"),
    "DISPLAYFROM": _display("from"),
    "DISPLAYTO": _display("to"),
}


async def sort(session: Session, parser: Parser) -> Done:
    """SORT."""
    return await _sort(session, parser, uid=False)


async def uid_sort(session: Session, parser: Parser) -> Done:
    """UID SORT."""
    return await _sort(session, parser, uid=True)


async def _sort(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    session.needs_uid(uid=uid)
    asked = parse_sort(parser)
    check_charset(asked.charset)
    view = session.selected()
    found = await find(session, asked.key)
    ordered = await _ordered(session, view, found, asked.criteria)
    results = asked.results
    if results is not None and "SAVE" in results.words:
        session.saved = to_save(results, found)
    numbers = ordered if uid else view.numbers(ordered)
    if results is None:
        session.untagged(b" ".join([b"SORT", *(b"%d" % number for number in numbers)]))
    elif not results.only_save:
        session.untagged(esearch(session.tag, results, numbers, uid=uid))
    return Done("sorted")


async def _ordered(
    session: Session, view: View, uids: Sequence[int], criteria: Sequence[Criterion]
) -> list[int]:
    """By the last criterion first: Python's sort keeps the order of what is equal.

    What is equal by all of them stays in the order of its sequence numbers (RFC 5256 §3).
    """
    ordered = list(uids)
    for criterion in reversed(criteria):
        keys = await _keys(session, view, uids, criterion.name)
        ordered.sort(key=keys.__getitem__, reverse=criterion.reverse)
    return ordered


async def _keys(session: Session, view: View, uids: Sequence[int], name: str) -> dict[int, Any]:
    """The value of a criterion for each message; those from ENVELOPEs are kept with the mailbox."""
    entries = view.entries
    if name in _FROM_ENTRY:
        of_entry = _FROM_ENTRY[name]
        return {uid: of_entry(entries[uid]) for uid in uids}
    kept = view.shared.sort_keys.setdefault(name, {})
    missing = [entries[uid] for uid in uids if uid not in kept]
    make = _FROM_ENVELOPE[name]
    for start in range(0, len(missing), 500):
        part = missing[start : start + 500]
        shown = await session.gateway.summaries.of(view.mailbox.id, part)
        for entry in part:
            envelope = shown.get(entry.mail_id)
            kept[entry.uid] = make(entry, read_envelope(envelope[0] if envelope else _NONE))
    return kept


_NONE = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


async def thread(session: Session, parser: Parser) -> Done:
    """THREAD."""
    return await _thread(session, parser, uid=False)


async def uid_thread(session: Session, parser: Parser) -> Done:
    """UID THREAD."""
    return await _thread(session, parser, uid=True)


async def _thread(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    session.needs_uid(uid=uid)
    asked = parse_thread(parser)
    if asked.algorithm not in ALGORITHMS:
        raise Bad(f"threads are made by {', '.join(ALGORITHMS)}")
    check_charset(asked.charset)
    view = session.selected()
    found = await find(session, asked.key)
    links = await _links(session, view)
    messages = [
        _threaded(n, links[u])
        for n, u in zip(found if uid else view.numbers(found), found, strict=True)
        if u in links
    ]
    text = thread_text(ALGORITHMS[asked.algorithm](messages))
    session.untagged(b"THREAD " + text if text else b"THREAD")
    return Done("threaded")


Link = tuple[float, str, tuple[str, ...], str, bool]


def _threaded(number: int, link: Link) -> Threaded:
    return Threaded(number, *link)


async def _links(session: Session, view: View) -> dict[int, Link]:
    """What threading needs of every message; kept with the mailbox."""
    kept: dict[int, Link] = view.shared.sort_keys.setdefault("THREAD", {})
    missing = [uid for uid in view.uids if uid not in kept]
    for row in await session.gateway.store.threads(view.mailbox.id, missing) if missing else ():
        subject, replied = base_subject(row.subject)
        date = row.internaldate if row.sent_at is None else row.sent_at
        refs = tuple(row.thread_refs.split())
        kept[row.uid] = (date, row.message_id, refs, subject.casefold(), replied)
    return kept
