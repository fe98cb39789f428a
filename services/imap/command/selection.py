"""SELECT, EXAMINE, CLOSE, UNSELECT, NOOP, CHECK and IDLE (RFC 9051 §6.3, §6.4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from libs.common.mailstore import Flag
from libs.protocols.imap.parse import ParseError, Parser
from services.imap.outcome import Bad, Done, No, Silent
from services.imap.view import View

if TYPE_CHECKING:
    from services.imap.session import Session

_FLAGS = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft"
_MAX_IDLE_LINE = 1024


async def select(session: Session, parser: Parser) -> Done:
    """SELECT."""
    return await _select(session, parser, read_only=False)


async def examine(session: Session, parser: Parser) -> Done:
    """EXAMINE."""
    return await _select(session, parser, read_only=True)


async def _select(session: Session, parser: Parser, *, read_only: bool) -> Done:
    parser.space()
    name = parser.mailbox()
    parameters = _parameters(parser)
    parser.end()
    session.leave()
    store = session.gateway.store
    box = await store.mailbox(session.owner().id, name)
    if box is None:
        raise No(f"there is no mailbox {name!r}", "NONEXISTENT")
    view = View(store, box, read_only=read_only)
    # Watching begins before loading, so that nothing falls between the two.
    session.view = view
    session.gateway.watch(session, box.id)
    try:
        await view.load()
    except BaseException:
        session.leave()
        raise
    session.untagged(b"FLAGS (%b)" % _FLAGS)
    allowed = b"" if read_only else _FLAGS + b" \\*"
    session.untagged(b"OK [PERMANENTFLAGS (%b)] these are kept" % allowed)
    session.untagged(b"%d EXISTS" % len(view.uids))
    session.untagged(b"0 RECENT")
    for number, uid in enumerate(view.uids, 1):
        if not view.entries[uid].flags & Flag.SEEN:
            session.untagged(b"OK [UNSEEN %d] first unseen message" % number)
            break
    session.untagged(b"OK [UIDVALIDITY %d] UIDs are valid" % box.uidvalidity)
    uidnext = max(box.uidnext, view.uids[-1] + 1 if view.uids else 1)
    session.untagged(b"OK [UIDNEXT %d] next UID" % uidnext)
    session.tell_modseq()
    session.condstore = session.condstore or "CONDSTORE" in parameters
    return Done("selected", "READ-ONLY" if read_only else "READ-WRITE")


def _parameters(parser: Parser) -> list[str]:
    found: list[str] = []
    if parser.take(b" ("):
        while not parser.take(b")"):
            found.append(parser.atom())
            if found[-1] != "CONDSTORE":
                raise ParseError(f"unknown parameter {found[-1][:40]}")
            if not parser.peek(b")"):
                parser.space()
    return found


async def noop(session: Session, parser: Parser) -> Done:
    """NOOP and CHECK; news are told with every command."""
    parser.end()
    return Done("that is all")


async def close(session: Session, parser: Parser) -> Done:
    """CLOSE: expunge silently, and leave."""
    parser.end()
    view = session.selected()
    session.leave()
    if not view.read_only:
        await session.gateway.store.expunge(view.mailbox.id, list(view.uids))
    return Done("closed")


async def unselect(session: Session, parser: Parser) -> Done:
    """UNSELECT (RFC 3691)."""
    parser.end()
    session.leave()
    return Done("left")


async def idle(session: Session, parser: Parser) -> Done:
    """IDLE (RFC 2177): tell news until the client says DONE."""
    parser.end()
    session.stream.add(b"+ idling\r\n")
    if session.view is not None:
        await session.tell_news()
    await session.stream.flush()
    reading = asyncio.ensure_future(_done(session))
    waking = asyncio.ensure_future(session.changed.wait())
    try:
        while not reading.done() and not session.closing:
            await asyncio.wait({reading, waking}, return_when=asyncio.FIRST_COMPLETED)
            if waking.done() and not session.closing:
                session.changed.clear()
                if session.view is not None:
                    await session.tell_news()
                await session.stream.flush()
                waking = asyncio.ensure_future(session.changed.wait())
        if not reading.done():
            # The client has not said DONE; BYE is all that it will hear.
            return Silent()
        await reading
    finally:
        reading.cancel()
        waking.cancel()
    return Done("that was it")


async def _done(session: Session) -> None:
    """Read up to the line DONE."""
    while (line := session.collector.take_line()) is None:
        if session.collector.waiting > _MAX_IDLE_LINE:
            raise ConnectionError("no DONE")
        await session.receive()
    if line.strip().upper() != b"DONE":
        raise Bad("IDLE ends with DONE")
