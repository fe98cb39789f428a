"""GETMETADATA and SETMETADATA (RFC 5464)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from libs.common.mailstore import ACCOUNT
from libs.protocols.imap import write
from libs.protocols.imap.metadata import parse_getmetadata, parse_setmetadata
from libs.protocols.imap.parse import Parser
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session


async def _whose(session: Session, name: str) -> tuple[int, int]:
    """(account, mailbox) whose annotations are meant."""
    if not name:
        return session.owner().id, ACCOUNT
    box = await session.box(name)
    return box.account_id, box.id


async def getmetadata(session: Session, parser: Parser) -> Done:
    """GETMETADATA."""
    asked = parse_getmetadata(parser)
    values = await session.gateway.store.annotations(*await _whose(session, asked.mailbox))
    wanted = {entry: value for entry, value in values.items() if asked.wants(entry)}
    told = {
        entry: value
        for entry, value in wanted.items()
        if asked.maxsize is None or len(value) <= asked.maxsize
    }
    tell(session, asked.mailbox, told.items())
    longest = max((len(value) for value in wanted.values()), default=0)
    if len(told) < len(wanted):
        return Done("some are longer", f"METADATA LONGENTRIES {longest}")
    return Done("that is all")


def tell(session: Session, mailbox: str, values: Iterable[tuple[str, bytes]]) -> None:
    """The METADATA response, if there is anything to tell."""
    parts = [b"%b %b" % (write.astring(entry.encode()), write.string(v)) for entry, v in values]
    if parts:
        name = session.name(mailbox) if mailbox else b'""'
        session.untagged(b"METADATA %b (%b)" % (name, b" ".join(parts)))


async def setmetadata(session: Session, parser: Parser) -> Done:
    """SETMETADATA."""
    name, values = parse_setmetadata(parser)
    account_id, mailbox_id = await _whose(session, name)
    await session.gateway.store.annotate(account_id, mailbox_id, values)
    return Done("set")
