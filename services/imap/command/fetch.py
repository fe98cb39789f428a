"""FETCH (RFC 9051 §6.4.5): everything but bodies comes from rows; bodies by ranges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from libs.common.blobstore.protocol import BlobError
from libs.common.mailstore import Entry, Flag, Stored, to_names
from libs.common.runtime.log import get_logger
from libs.protocols.imap import write
from libs.protocols.imap.fetch import FetchItem, Section, parse_changedsince, parse_items
from libs.protocols.imap.parse import Parser
from libs.protocols.message.date import format_internaldate
from libs.protocols.message.header import MAX_HEADER_OCTETS, parse_header
from libs.protocols.message.summary import find_part
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session

log = get_logger(__name__)
_CHUNK = 256 * 1024
_BATCH = 500
"""Messages whose rows are read at a time."""
_FROM_ENTRY = frozenset(("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "MODSEQ"))


async def fetch(session: Session, parser: Parser) -> Done:
    """FETCH."""
    return await _fetch(session, parser, uid=False)


async def uid_fetch(session: Session, parser: Parser) -> Done:
    """UID FETCH."""
    return await _fetch(session, parser, uid=True)


async def _fetch(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    ranges = parser.sequence_set()
    parser.space()
    items = parse_items(parser)
    since = parse_changedsince(parser)
    parser.end()
    if uid and "UID" not in items:
        items = ("UID", *items)
    view = session.selected()
    uids = view.select(ranges, uid=uid)
    if since is not None:
        uids = [number for number in uids if view.entries[number].modseq > since]
        items = items if "MODSEQ" in items else (*items, "MODSEQ")
    if "MODSEQ" in items:
        session.use_condstore()
    seen = [] if view.read_only else await _mark_seen(session, items, uids)
    if seen:
        items = (*items, *(name for name in _told_with_seen(session) if name not in items))
    if all(item in _FROM_ENTRY for item in items):
        await _respond_from_view(session, items, uids)
        return Done("fetched")
    for start in range(0, len(uids), _BATCH):
        part = uids[start : start + _BATCH]
        for stored in await session.gateway.store.stored(view.mailbox.id, part):
            await _respond(session, items, view.entries[stored.uid], stored)
    return Done("fetched")


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
        view.entries.update({entry.uid: entry for entry in entries})
    return unseen


async def _respond_from_view(
    session: Session, items: Sequence[FetchItem], uids: Sequence[int]
) -> None:
    """Flags and sizes of a whole mailbox, many messages to a write."""
    view, names = session.selected(), [item for item in items if isinstance(item, str)]
    for start in range(0, len(uids), _BATCH):
        lines = []
        for uid in uids[start : start + _BATCH]:
            entry = view.entries[uid]
            inner = b" ".join([_simple(name, entry, None) for name in names])
            lines.append(b"* %d FETCH (%b)\r\n" % (view.number(uid), inner))
        session.stream.add(b"".join(lines))
        if session.stream.full:
            await session.stream.flush()


@lru_cache(maxsize=4096)
def _flags(flags: int, keywords: str) -> bytes:
    return b"FLAGS " + write.flag_list(to_names(flags, keywords))


class Response:
    """One FETCH response as it grows.

    What comes after an announced literal is content to the client, so a response that cannot be
    finished is taken back as long as nothing of it was sent, and else ends the connection.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._parts: list[bytes] = []
        self._octets = 0
        self._sent = False

    def add(self, data: bytes) -> None:
        """The next octets."""
        self._parts.append(data)
        self._octets += len(data)

    async def read(self, stored: Stored, start: int, stop: int) -> None:
        """Octets of the message, in blocks, none of which is read before the last one was sent."""
        for at in range(start, stop, _CHUNK):
            if self._octets >= _CHUNK:
                self._hand_over()
                self._sent = True
                await self._session.stream.flush()
            try:
                data = await self._session.gateway.store.read(stored, at, min(at + _CHUNK, stop))
            except BlobError as error:
                if not self._sent:
                    raise
                log.warning("a body broke off", mail_id=stored.mail_id, error=str(error))
                self._session.stream.abort()
                raise ConnectionError("a response cannot be finished") from error
            self.add(data)

    async def end(self) -> None:
        """The response is whole."""
        self._hand_over()
        if self._session.stream.full:
            await self._session.stream.flush()

    def _hand_over(self) -> None:
        self._session.stream.add(b"".join(self._parts))
        self._parts.clear()
        self._octets = 0


async def _respond(
    session: Session, items: Sequence[FetchItem], entry: Entry, stored: Stored | None
) -> None:
    response = Response(session)
    response.add(b"* %d FETCH (" % session.selected().number(entry.uid))
    for i, item in enumerate(items):
        if i:
            response.add(b" ")
        if isinstance(item, Section):
            assert stored is not None
            await _section(session, response, item, stored)
        else:
            response.add(_simple(item, entry, stored))
    response.add(b")\r\n")
    await response.end()


def _simple(item: str, entry: Entry, stored: Stored | None) -> bytes:
    match item:
        case "UID":
            return b"UID %d" % entry.uid
        case "FLAGS":
            return _flags(entry.flags, entry.keywords)
        case "INTERNALDATE":
            return f'INTERNALDATE "{format_internaldate(entry.internaldate).strip()}"'.encode()
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % entry.size
        case "MODSEQ":
            return b"MODSEQ (%d)" % entry.modseq
    assert stored is not None
    match item:
        case "ENVELOPE":
            return b"ENVELOPE " + stored.envelope
        case "BODYSTRUCTURE":
            return b"BODYSTRUCTURE " + stored.bodystructure
        case _:
            return b"BODY " + stored.body


def _span(section: Section, stored: Stored) -> tuple[int, int] | None:
    """Octets [start, stop) of prefix and content; None: no such part."""
    before = len(stored.prefix)
    if section.part == "":
        return 0, before + stored.content_size
    found = find_part(stored.parts, section.part)
    if found is None:
        return None
    if section.part == "HEADER":
        # The prefix is the beginning of the header that clients see.
        return 0, before + found.end
    return before + found.start, before + found.end


async def _section(session: Session, response: Response, section: Section, stored: Stored) -> None:
    span = _span(section, stored)
    if span is None:
        response.add(section.label + b' ""')
        return
    start, stop = span
    if section.fields:
        stop = min(stop, start + len(stored.prefix) + MAX_HEADER_OCTETS)
        data = _pick(await session.gateway.store.read(stored, start, stop), section)
        end = None if section.count is None else section.start + section.count
        data = data[section.start : end]
        response.add(section.label + b" {%d}\r\n" % len(data) + data)
        return
    if section.count is not None:
        start = min(start + section.start, stop)
        stop = min(start + section.count, stop)
    response.add(section.label + b" {%d}\r\n" % (stop - start))
    await response.read(stored, start, stop)


def _pick(header: bytes, section: Section) -> bytes:
    """The fields asked for, unchanged, with the blank line (RFC 9051 §6.4.5.1)."""
    wanted = set(section.fields)
    parts = [
        header[field.start : field.end]
        for field in parse_header(header).fields
        if (field.name.lower() in wanted) != section.invert
    ]
    return b"".join(parts) + b"\r\n"
