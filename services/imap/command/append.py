"""APPEND (RFC 9051 §6.3.12), with APPENDUID."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from libs.common.mailstore import AppendItem, from_names
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.message.date import parse_internaldate
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session

_DATE = re.compile(rb'"([^"\r\n]{1,40})"')


async def append(session: Session, parser: Parser) -> Done:
    """OK only when the message is durable and its row committed (I17)."""
    parser.space()
    name = parser.mailbox()
    parser.space()
    flags, keywords = 0, ""
    if parser.peek(b"("):
        try:
            flags, keywords = from_names(parser.flags())
        except ValueError as error:
            raise ParseError(str(error)) from error
        parser.space()
    date = None
    if parser.peek(b'"'):
        moment = parse_internaldate(parser.match(_DATE, "a date-time")[1])
        if moment is None:
            raise ParseError("not a date-time")
        date = moment.epoch
        parser.space()
    content = parser.string()
    parser.end()
    item = AppendItem(content, flags, keywords, date)
    uidvalidity, uids = await session.gateway.store.append(session.owner().id, name, [item])
    return Done("appended", f"APPENDUID {uidvalidity} {uids[0]}")
