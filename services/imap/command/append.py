"""APPEND (RFC 9051 §6.3.12) of one message or many (RFC 3502), with APPENDUID (RFC 4315)."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from libs.common.blobstore.spool import SpoolFile
from libs.common.mailstore import AppendItem, from_names
from libs.protocols.imap import write
from libs.protocols.imap.collect import Ended, Incoming, Refused
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.message.date import parse_internaldate
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

MAX_MESSAGES = 100
"""In one MULTIAPPEND."""
_DATE = re.compile(rb'"([^"\r\n]{1,40})"')
_LITERAL = re.compile(rb"~?\{[0-9]{1,20}\+?\}")


async def append(session: Session, parser: Parser) -> Done:
    """OK only when the messages are durable and their rows committed (I17)."""
    parser.space()
    name = parser.mailbox()
    parser.space()
    account_id, store = session.owner().id, session.gateway.store
    # Asked now, so that nobody sends 50 MB to a mailbox that is not there.
    if await store.mailbox(account_id, name) is None:
        raise No(f"there is no mailbox {name!r}", "TRYCREATE")
    with ExitStack() as spools:
        items = await _items(session, parser, spools)
        uidvalidity, uids = await store.append(account_id, name, items)
    return Done("appended", f"APPENDUID {uidvalidity} {write.number_set(uids).decode()}")


async def _items(session: Session, parser: Parser, spools: ExitStack) -> list[AppendItem]:
    """All messages of the command, up to its end."""
    items: list[AppendItem] = []
    total = 0
    while True:
        flags, keywords = _flags(parser)
        date = _date(parser)
        parser.match(_LITERAL, "a literal")
        parser.end()
        incoming = session.incoming
        if incoming is None:
            raise ParseError("the message must be a literal")
        total += incoming.size
        if len(items) >= MAX_MESSAGES or total > 2 * session.gateway.settings.max_append_octets:
            raise No("that is too much for one command", "LIMIT")
        spool = spools.enter_context(closing(SpoolFile(session.gateway.spool_folder)))
        await _take(session, incoming, spool)
        items.append(AppendItem(await spool.finish(), flags, keywords, date))
        parser = Parser(await _next_part(session))
        if session.incoming is None:
            parser.end()
            return items
        parser.space()
        # Departs from RFC 3502 §6.3.11: imapclient puts two spaces between messages.
        parser.take(b" ")


def _flags(parser: Parser) -> tuple[int, str]:
    if not parser.peek(b"("):
        return 0, ""
    try:
        found = from_names(parser.flags())
    except ValueError as error:
        raise ParseError(str(error)) from error
    parser.space()
    return found


def _date(parser: Parser) -> float | None:
    if not parser.peek(b'"'):
        return None
    moment = parse_internaldate(parser.match(_DATE, "a date-time")[1])
    if moment is None:
        raise ParseError("not a date-time")
    parser.space()
    return moment.epoch


async def _take(session: Session, incoming: Incoming, spool: SpoolFile) -> None:
    """Invite the message if need be, and write it to the spool as it comes."""
    if not incoming.invited:
        session.incoming = replace(incoming, invited=True)
        session.stream.add(b"+ go ahead\r\n")
        await session.stream.flush()
    while session.collector.streaming:
        if data := session.collector.octets():
            await spool.write(data)
        else:
            await session.receive()


async def _next_part(session: Session) -> bytes:
    """What stands between this message and the next one, or the end of the command."""
    session.incoming = None
    while True:
        match session.collector.next():
            case None:
                await session.receive()
            case Incoming(raw) as incoming:
                session.incoming = incoming
                return raw
            case Ended(raw):
                return raw
            case Refused(text=text, fatal=fatal, code=code):
                session.closing = session.closing or fatal
                raise No(text, code or "LIMIT")
            case other:
                raise AssertionError(f"not within an APPEND: {other}")


async def skip(session: Session) -> None:
    """After a refusal: pass over the messages that come all the same."""
    while (incoming := session.incoming) is not None:
        if not incoming.invited:
            # The client waits for a `+`, takes our NO for an answer, and sends the next command.
            session.incoming = None
            session.collector.forget()
            return
        while session.collector.streaming:
            if not session.collector.octets():
                await session.receive()
        try:
            await _next_part(session)
        except No:
            return
