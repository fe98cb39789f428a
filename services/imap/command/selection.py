"""SELECT, EXAMINE, CLOSE, UNSELECT, NOOP, CHECK and IDLE (RFC 9051 §6.3, §6.4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from libs.common.mailstore import Flag
from libs.protocols.imap.parse import Parser
from libs.protocols.imap.select import Resync, parse_parameters
from services.imap.outcome import Bad, Done, Silent
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
    parameters = parse_parameters(parser)
    parser.end()
    if parameters.qresync is not None and not session.qresync:
        raise Bad("say ENABLE QRESYNC first (RFC 7162 §3.2.5)")
    if session.view is not None:
        session.leave()
        session.untagged(b"OK [CLOSED] the mailbox before it")
    box = await session.box(name)
    view = View(box, session.changed, read_only=read_only)
    await view.load(session.gateway.mailboxes)
    session.view = view
    _describe(session, view)
    session.condstore = session.condstore or parameters.condstore
    if parameters.qresync is not None and parameters.qresync.uidvalidity == box.uidvalidity:
        await _resynchronise(session, view, parameters.qresync)
    return Done("selected", "READ-ONLY" if read_only else "READ-WRITE")


def _describe(session: Session, view: View) -> None:
    box = view.mailbox
    flags = _FLAGS + b"".join(b" " + word.encode() for word in sorted(view.shared.keywords))
    session.untagged(b"FLAGS (%b)" % flags)
    allowed = b"" if view.read_only else flags + b" \\*"
    session.untagged(b"OK [PERMANENTFLAGS (%b)] these are kept" % allowed)
    session.untagged(b"%d EXISTS" % len(view.uids))
    if not session.rev2:
        session.untagged(b"0 RECENT")
        if box.unseen and not session.uidonly and (unseen := _first_unseen(view)):
            session.untagged(b"OK [UNSEEN %d] first unseen message" % unseen)
    session.untagged(b"OK [UIDVALIDITY %d] UIDs are valid" % box.uidvalidity)
    uidnext = max(box.uidnext, view.uids[-1] + 1 if view.uids else 1)
    session.untagged(b"OK [UIDNEXT %d] next UID" % uidnext)
    session.untagged(b"OK [MAILBOXID (%b)] never of another mailbox" % box.object_id.encode())
    session.tell_modseq()
    if session.rev2:
        # RFC 9051 §6.3.2: which name it really has.
        session.untagged(b'LIST () "/" ' + session.name(box.name))


async def _resynchronise(session: Session, view: View, asked: Resync) -> None:
    """What the client missed since it was last here (RFC 7162 §3.2.5)."""
    if asked.modseq >= view.modseq:
        return
    store, number = session.gateway.store, view.mailbox.id
    gone = await store.vanished(number, asked.modseq)
    session.tell_vanished([uid for uid in gone if asked.knows(uid)], earlier=True)
    changed = await store.entries(number, asked.modseq)
    session.tell_flags(e.uid for e in changed if asked.knows(e.uid) and view.has(e.uid))


def _first_unseen(view: View) -> int:
    entries = view.entries
    seen = int(Flag.SEEN)
    return next((n for n, u in enumerate(view.uids, 1) if not entries[u].flags & seen), 0)


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
