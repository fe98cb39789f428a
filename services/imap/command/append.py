"""APPEND (RFC 9051 §6.3.12) and REPLACE (RFC 8508).

Of one message or many (RFC 3502), as octets, as a literal8 (RFC 3516), in UTF-8 (RFC 6855), or
put together of texts and parts of messages that are here (RFC 4469).
"""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import replace as with_changes
from typing import TYPE_CHECKING

from libs.common.blobstore.spool import SpoolFile
from libs.common.mailstore import AppendItem, from_names
from libs.protocols.imap import write
from libs.protocols.imap.collect import Ended, Incoming, Refused
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.url import MAX_URL, parse_url
from libs.protocols.message.date import parse_internaldate
from services.imap.outcome import Bad, Done, No
from services.imap.part import read_url

if TYPE_CHECKING:
    from services.imap.session import Session

MAX_MESSAGES = 100
"""In one MULTIAPPEND."""
_DATE = re.compile(rb'"([^"\r\n]{1,40})"')
_LITERAL = re.compile(rb"(~?)\{[0-9]{1,20}\+?\}")
_UTF8 = re.compile(rb"UTF8 \(", re.IGNORECASE)
_CATENATE = re.compile(rb"CATENATE \(", re.IGNORECASE)


async def append(session: Session, parser: Parser) -> Done:
    """OK only when the messages are durable and their rows committed (I17)."""
    name = await _target(session, parser)
    with ExitStack() as spools:
        items = await _Messages(session, parser, spools).all()
        uidvalidity, uids = await session.gateway.store.append(session.owner().id, name, items)
    return Done("appended", f"APPENDUID {uidvalidity} {write.number_set(uids).decode()}")


async def replace(session: Session, parser: Parser) -> Done:
    """REPLACE."""
    return await _replace(session, parser, uid=False)


async def uid_replace(session: Session, parser: Parser) -> Done:
    """UID REPLACE."""
    return await _replace(session, parser, uid=True)


async def _replace(session: Session, parser: Parser, *, uid: bool) -> Done:
    """The new message comes and the old one goes in one transaction, or neither does."""
    parser.space()
    ranges, by_uid = session.set_of(parser, uid=uid)
    view = session.writable()
    chosen = view.select(ranges, uid=by_uid)
    if len(chosen) != 1:
        raise Bad("REPLACE is for one message that is here (RFC 8508 §3.1)")
    name = await _target(session, parser)
    with ExitStack() as spools:
        items = await _Messages(session, parser, spools).all()
        if len(items) != 1:
            raise Bad("REPLACE takes one message")
        uidvalidity, new = await session.gateway.store.replace(
            session.owner().id, name, items[0], view.mailbox.id, chosen[0]
        )
    # RFC 8508 §4.3: the APPENDUID comes before the EXPUNGE of the old one.
    session.untagged(f"OK [APPENDUID {uidvalidity} {new}] replaced".encode())
    return Done("replaced")


async def _target(session: Session, parser: Parser) -> str:
    parser.space()
    name = parser.mailbox()
    parser.space()
    # Asked now, so that nobody sends 50 MB to a mailbox that is not there.
    if await session.gateway.store.mailbox(session.owner().id, name) is None:
        raise No(f"there is no mailbox {name!r}", "TRYCREATE")
    return name


class _Messages:
    """Reads the messages of a command as they come, each into a spool."""

    def __init__(self, session: Session, parser: Parser, spools: ExitStack) -> None:
        self._session = session
        self._parser = parser
        self._spools = spools
        self._octets = 0

    async def all(self) -> list[AppendItem]:
        """All messages of the command, up to its end."""
        items: list[AppendItem] = []
        while True:
            if len(items) >= MAX_MESSAGES:
                raise No("that is too much for one command", "LIMIT")
            items.append(await self._one())
            if self._session.incoming is None and self._parser.at_end():
                return items
            self._parser.space()
            # Departs from RFC 3502 §6.3.11: imapclient puts two spaces between messages.
            self._parser.take(b" ")

    async def _one(self) -> AppendItem:
        flags, keywords = _flags(self._parser)
        date = _date(self._parser)
        spool = self._spools.enter_context(closing(SpoolFile(self._session.gateway.spool_folder)))
        if self._parser.try_match(_UTF8):
            if not self._session.utf8:
                raise Bad("say ENABLE UTF8=ACCEPT first (RFC 6855 §4)")
            await self._literal(spool)
            self._parser.expect(b")")
        elif self._parser.try_match(_CATENATE):
            await self._catenate(spool)
        else:
            await self._literal(spool)
        return AppendItem(await spool.finish(), flags, keywords, date)

    async def _catenate(self, spool: SpoolFile) -> None:
        while True:
            word = self._parser.atom()
            self._parser.space()
            if word == "TEXT":
                await self._literal(spool)
            elif word == "URL":
                await self._url(spool)
            else:
                raise ParseError("CATENATE puts together TEXT and URL")
            if self._parser.take(b")"):
                return
            self._parser.space()

    async def _url(self, spool: SpoolFile) -> None:
        raw = await self._url_text()
        try:
            url = parse_url(raw)
            async for block in read_url(self._session, url):
                self._count(len(block))
                await spool.write(block)
        except (ParseError, No) as error:
            shown = write.string(raw[:500]).decode("ascii", "replace")
            raise No(str(error), f"BADURL {shown}") from error

    async def _url_text(self) -> bytes:
        if not self._parser.peek(b"{"):
            return self._parser.astring()
        with closing(SpoolFile(self._session.gateway.spool_folder)) as spool:
            incoming = self._session.incoming
            if incoming is not None and incoming.size > MAX_URL:
                raise ParseError("the URL is too long")
            await self._literal(spool)
            found = await spool.finish()
        return found if isinstance(found, bytes) else b""

    async def _literal(self, spool: SpoolFile) -> None:
        """The octets that come next; then the parser stands behind them."""
        eight = self._parser.match(_LITERAL, "a literal")[1] != b""
        self._parser.end()
        incoming = self._session.incoming
        if incoming is None:
            raise ParseError("the message must be a literal")
        self._count(incoming.size)
        await _take(self._session, incoming, spool, eight=eight)
        self._parser = Parser(await _next_part(self._session), utf8=self._session.utf8)

    def _count(self, octets: int) -> None:
        self._octets += octets
        if self._octets > 2 * self._session.gateway.settings.max_append_octets:
            raise No("that is too much for one command", "LIMIT")


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


async def _take(session: Session, incoming: Incoming, spool: SpoolFile, *, eight: bool) -> None:
    """Invite the message if need be, and write it to the spool as it comes."""
    if not incoming.invited:
        session.incoming = with_changes(incoming, invited=True)
        session.stream.add(b"+ go ahead\r\n")
        await session.stream.flush()
    while session.collector.streaming:
        if data := session.collector.octets():
            if eight and b"\0" in data:
                # RFC 3516 §4.4: what we cannot give back by BODY[] we do not take.
                raise No("messages with NUL octets are not stored", "UNKNOWN-CTE")
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
