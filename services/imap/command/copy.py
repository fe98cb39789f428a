"""COPY and MOVE, with COPYUID (RFC 9051 §6.4.7, §6.4.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.imap import write
from libs.protocols.imap.parse import Parser
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session


def _arguments(session: Session, parser: Parser, *, uid: bool) -> tuple[list[int], str]:
    parser.space()
    ranges, by_uid = session.set_of(parser, uid=uid)
    parser.space()
    name = parser.mailbox()
    parser.end()
    return session.selected().select(ranges, uid=by_uid), name


def _code(uidvalidity: int, pairs: list[tuple[int, int]]) -> str:
    if not pairs:
        return ""
    old = write.number_set(a for a, _ in pairs).decode()
    new = write.number_set(b for _, b in pairs).decode()
    return f"COPYUID {uidvalidity} {old} {new}"


async def _copy(session: Session, parser: Parser, *, uid: bool) -> Done:
    uids, name = _arguments(session, parser, uid=uid)
    view = session.selected()
    uidvalidity, pairs = await session.gateway.store.copy(
        session.owner().id, view.mailbox.id, uids, name
    )
    return Done("copied", _code(uidvalidity, pairs))


async def _move(session: Session, parser: Parser, *, uid: bool) -> Done:
    uids, name = _arguments(session, parser, uid=uid)
    view = session.writable()
    uidvalidity, pairs = await session.gateway.store.move(
        session.owner().id, view.mailbox.id, uids, name
    )
    if code := _code(uidvalidity, pairs):
        # RFC 6851 §4.3: COPYUID comes before the EXPUNGE responses.
        session.untagged(f"OK [{code}] moved".encode())
    return Done("moved")


async def copy(session: Session, parser: Parser) -> Done:
    """COPY."""
    return await _copy(session, parser, uid=False)


async def uid_copy(session: Session, parser: Parser) -> Done:
    """UID COPY."""
    return await _copy(session, parser, uid=True)


async def move(session: Session, parser: Parser) -> Done:
    """MOVE."""
    return await _move(session, parser, uid=False)


async def uid_move(session: Session, parser: Parser) -> Done:
    """UID MOVE."""
    return await _move(session, parser, uid=True)
