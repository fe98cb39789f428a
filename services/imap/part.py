"""Where the octets of a section are in a message, and reading what a URL names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from libs.common.mailstore import MailStore, Stored
from libs.protocols.imap.fetch import Section
from libs.protocols.imap.url import MessageUrl
from libs.protocols.message.header import MAX_HEADER_OCTETS, parse_header
from libs.protocols.message.summary import find_part
from services.imap.outcome import No

if TYPE_CHECKING:
    from services.imap.session import Session

CHUNK = 256 * 1024
_WHOLE = Section(b"BODY[]", "")


def span_of(section: Section, stored: Stored) -> tuple[int, int] | None:
    """Octets [start, stop) of prefix and content; None: no such part.  Ranges are not applied."""
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


async def read_fields(
    store: MailStore, section: Section, stored: Stored, span: tuple[int, int]
) -> bytes:
    """The header fields asked for, unchanged, with the blank line (RFC 9051 §6.4.5.1)."""
    start, stop = span
    header = await store.read(
        stored, start, min(stop, start + len(stored.prefix) + MAX_HEADER_OCTETS)
    )
    wanted = set(section.fields)
    parts = [
        header[field.start : field.end]
        for field in parse_header(header).fields
        if (field.name.lower() in wanted) != section.invert
    ]
    return b"".join(parts) + b"\r\n"


async def read_url(session: Session, url: MessageUrl) -> AsyncIterator[bytes]:
    """What the URL names, in blocks; NO when it is not here for this account."""
    if url.user and url.user.lower() != session.owner().address:
        raise No("the URL is another account's")
    box = await session.box(url.mailbox)
    if url.uidvalidity not in (None, box.uidvalidity):
        raise No("the mailbox has another UIDVALIDITY")
    store = session.gateway.store
    found = await store.stored(box.id, [url.uid])
    section = url.section or _WHOLE
    span = span_of(section, found[0]) if found else None
    if span is None:
        raise No("there is no such message, or no such part")
    end = None if url.count is None else url.start + url.count
    if section.fields:
        yield (await read_fields(store, section, found[0], span))[url.start : end]
        return
    start = min(span[0] + url.start, span[1])
    stop = span[1] if end is None else min(span[0] + end, span[1])
    for at in range(start, stop, CHUNK):
        yield await store.read(found[0], at, min(at + CHUNK, stop))
