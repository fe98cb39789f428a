"""STORE and EXPUNGE (RFC 9051 §6.4.3, §6.4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from libs.common.mailstore import from_names
from libs.protocols.imap.parse import ParseError, Parser
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session

_MODES: dict[str, Literal["add", "remove", "replace"]] = {
    "+FLAGS": "add",
    "-FLAGS": "remove",
    "FLAGS": "replace",
}


async def store(session: Session, parser: Parser) -> Done:
    """STORE."""
    return await _store(session, parser, uid=False)


async def uid_store(session: Session, parser: Parser) -> Done:
    """UID STORE."""
    return await _store(session, parser, uid=True)


async def _store(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    ranges = parser.sequence_set()
    parser.space()
    word = parser.atom()
    silent = word.endswith(".SILENT")
    mode = _MODES.get(word.removesuffix(".SILENT"))
    if mode is None:
        raise ParseError("STORE changes FLAGS, +FLAGS or -FLAGS")
    parser.space()
    try:
        flags, keywords = from_names(parser.flags())
    except ValueError as error:
        raise ParseError(str(error)) from error
    parser.end()
    view = session.writable()
    uids = view.select(ranges, uid=uid)
    entries, _ = await session.gateway.store.store(view.mailbox.id, uids, mode, flags, keywords)
    for entry in entries:
        view.entries[entry.uid] = entry
    if not silent:
        session.tell_flags(entry.uid for entry in entries)
    return Done("stored")


async def expunge(session: Session, parser: Parser) -> Done:
    """EXPUNGE; the responses come with the news of the mailbox."""
    parser.end()
    view = session.writable()
    await session.gateway.store.expunge(view.mailbox.id, list(view.uids))
    return Done("expunged")


async def uid_expunge(session: Session, parser: Parser) -> Done:
    """UID EXPUNGE (RFC 4315 §2.1)."""
    parser.space()
    ranges = parser.sequence_set()
    parser.end()
    view = session.writable()
    await session.gateway.store.expunge(view.mailbox.id, view.select(ranges, uid=True))
    return Done("expunged")
