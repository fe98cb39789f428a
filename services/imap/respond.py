"""One FETCH response: each item from the entry, from the row, or by ranges of the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from libs.common.blobstore.protocol import BlobError
from libs.common.mailstore import Entry, Stored, to_names
from libs.common.runtime.log import get_logger
from libs.protocols.imap import write
from libs.protocols.imap.fetch import Binary, FetchItem, Section
from libs.protocols.message.date import format_internaldate
from libs.protocols.message.decode import UnknownEncoding, decode_transfer
from libs.protocols.message.summary import find_part
from services.imap.outcome import No
from services.imap.part import CHUNK, read_fields, span_of

if TYPE_CHECKING:
    from services.imap.session import Session

log = get_logger(__name__)


@lru_cache(maxsize=4096)
def _flags(flags: int, keywords: str) -> bytes:
    return b"FLAGS " + write.flag_list(to_names(flags, keywords))


def uid_and_flags(entry: Entry, _: object = None) -> bytes:
    """Both items in one go: this is what clients ask for whole mailboxes."""
    return b"UID %d %b" % (entry.uid, _flags(entry.flags, entry.keywords))


def _date(seconds: float) -> bytes:
    return f'"{format_internaldate(seconds).strip()}"'.encode()


_FROM_ENTRY: dict[str, Callable[[Entry], bytes]] = {
    "UID": lambda entry: b"UID %d" % entry.uid,
    "FLAGS": lambda entry: _flags(entry.flags, entry.keywords),
    "INTERNALDATE": lambda entry: b"INTERNALDATE " + _date(entry.internaldate),
    "RFC822.SIZE": lambda entry: b"RFC822.SIZE %d" % entry.size,
    "MODSEQ": lambda entry: b"MODSEQ (%d)" % entry.modseq,
    # RFC 8474 §5.1: the same for all copies of a content, and for no other content.
    "EMAILID": lambda entry: b"EMAILID (M%b)" % entry.mail_id.encode(),
    "THREADID": lambda _: b"THREADID NIL",
}
_FROM_ROW: dict[str, Callable[[Stored], bytes]] = {
    "ENVELOPE": lambda stored: b"ENVELOPE " + stored.envelope,
    "BODYSTRUCTURE": lambda stored: b"BODYSTRUCTURE " + stored.bodystructure,
    "BODY": lambda stored: b"BODY " + stored.body,
    "SAVEDATE": lambda stored: b"SAVEDATE " + _date(stored.savedate),
    "PREVIEW": lambda stored: b"PREVIEW " + write.text(stored.preview),
}
ENTRY_ITEMS = frozenset(_FROM_ENTRY)


def entry_item(name: str) -> Callable[[Entry], bytes]:
    """What makes an item of ENTRY_ITEMS."""
    return _FROM_ENTRY[name]


async def respond(
    session: Session, items: Sequence[FetchItem], entry: Entry, stored: Stored
) -> None:
    """Send the response for one message."""
    response = Response(session)
    number = entry.uid if session.uidonly else session.selected().number(entry.uid)
    response.add(b"* %d %b (" % (number, session.fetch_word))
    for i, item in enumerate(items):
        if i:
            response.add(b" ")
        if isinstance(item, Section):
            await _section(session, response, item, stored)
        elif isinstance(item, Binary):
            await _binary(session, response, item, stored)
        else:
            make = _FROM_ENTRY.get(item)
            response.add(make(entry) if make else _FROM_ROW[item](stored))
    response.add(b")\r\n")
    await response.end()


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
        for at in range(start, stop, CHUNK):
            if self._octets >= CHUNK:
                self._hand_over()
                self._sent = True
                await self._session.stream.flush()
            try:
                data = await self._session.gateway.store.read(stored, at, min(at + CHUNK, stop))
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


async def _section(session: Session, response: Response, section: Section, stored: Stored) -> None:
    span = span_of(section, stored)
    if span is None:
        response.add(section.label + b' ""')
        return
    start, stop = span
    if section.fields:
        data = await read_fields(session.gateway.store, section, stored, span)
        end = None if section.count is None else section.start + section.count
        data = data[section.start : end]
        response.add(section.label + b" {%d}\r\n" % len(data) + data)
        return
    if section.count is not None:
        start = min(start + section.start, stop)
        stop = min(start + section.count, stop)
    response.add(section.label + b" {%d}\r\n" % (stop - start))
    await response.read(stored, start, stop)


async def _binary(session: Session, response: Response, item: Binary, stored: Stored) -> None:
    """The part decoded (RFC 3516 §4.2); the whole message for an empty section."""
    data = await _decoded(session, item.part, stored)
    if data is None:
        response.add(item.label + (b" 0" if item.size_only else b' ""'))
        return
    if item.size_only:
        response.add(item.label + b" %d" % len(data))
        return
    if item.count is not None:
        data = data[item.start : item.start + item.count]
    # A literal8 only where it must be, for not every client knows it.
    mark = b"~" if b"\0" in data else b""
    response.add(item.label + b" %b{%d}\r\n" % (mark, len(data)) + data)


async def _decoded(session: Session, part: str, stored: Stored) -> bytes | None:
    before = len(stored.prefix)
    if not part:
        return await session.gateway.store.read(stored, 0, before + stored.content_size)
    span = find_part(stored.parts, part)
    if span is None:
        return None
    data = await session.gateway.store.read(stored, before + span.start, before + span.end)
    try:
        return await asyncio.to_thread(decode_transfer, data, span.encoding)
    except UnknownEncoding as error:
        raise No(f"the part has the unknown encoding {span.encoding!r}", "UNKNOWN-CTE") from error
