"""DATA: the content of the transaction (RFC 5321 §4.1.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.content import receive_content

if TYPE_CHECKING:
    from services.ingress.session import Session


async def data(session: Session, argument: str) -> Reply | None:
    """Receive and commit the content."""
    transaction = session.transaction()
    if argument:
        raise Refusal(Reply(501, "5.5.4", "DATA takes no argument"))
    if not transaction.recipients:
        raise Refusal(Reply(554, "5.5.1", "no valid recipients"))
    await session.send(Reply(354, "", "send the content, end it with CRLF.CRLF"))
    session.mail = None
    try:
        reply = await receive_content(session, transaction)
    except Refusal as refusal:
        reply = refusal.reply
        session.note_refusal("DATA", reply)
    if reply.positive:
        session.accepted.inc()
    if session.listener.lmtp:
        # One reply for each recipient that was accepted (RFC 2033 §4.2).
        for _ in transaction.recipients[1:]:
            session.say(reply)
    return reply
