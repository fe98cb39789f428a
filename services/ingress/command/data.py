"""DATA and BDAT: the content of the transaction (RFC 5321 §4.1.1.4, RFC 3030)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp.chunk import parse_chunk
from libs.protocols.smtp.reply import BAD_SEQUENCE, Refusal, Reply
from services.ingress.content import Content

if TYPE_CHECKING:
    from services.ingress.session import Session
    from services.ingress.transaction import MailTransaction

_BLOCK = 64 * 1024
SEND = Reply(354, "", "send the content, end it with CRLF.CRLF")
NO_RECIPIENTS = Reply(554, "5.5.1", "no valid recipients")


async def data(session: Session, argument: str) -> Reply:
    """Receive and commit the content."""
    transaction = session.transaction()
    if argument:
        raise Refusal(Reply(501, "5.5.4", "DATA takes no argument"))
    if transaction.content is not None:
        # RFC 3030 §3: DATA and BDAT do not mix in one transaction.
        raise Refusal(BAD_SEQUENCE)
    if not transaction.recipients:
        raise Refusal(NO_RECIPIENTS)
    await session.send(SEND)
    content = transaction.content = Content(session)
    await content.read_data()
    return await _finish(session, transaction, content)


async def bdat(session: Session, argument: str) -> Reply:
    """Receive one chunk; the last one commits.

    Whatever is wrong, the octets of the chunk are read: they are no commands (RFC 3030 §2).
    """
    octets, last = parse_chunk(argument)
    transaction = session.mail
    if transaction is None or not transaction.recipients:
        await _throw_away(session, octets)
        session.transaction()
        raise Refusal(NO_RECIPIENTS)
    content = transaction.content = transaction.content or Content(session)
    await content.read_chunk(octets)
    if last:
        return await _finish(session, transaction, content)
    if content.refusal:
        # Every BDAT that is under way already gets a 503 then (RFC 3030 §2).
        session.end_transaction()
        raise Refusal(content.refusal)
    return Reply(250, "2.0.0", f"{octets} octets received")


async def _throw_away(session: Session, octets: int) -> None:
    while octets:
        octets -= len(await session.read(min(_BLOCK, octets)))


async def _finish(session: Session, transaction: MailTransaction, content: Content) -> Reply:
    """Commit, and one reply, or in LMTP one for each recipient (RFC 2033 §4.2, §4.3)."""
    session.mail = None
    try:
        reply = await content.commit(transaction)
    except Refusal as refusal:
        reply = refusal.reply
        session.note_refusal("DATA", reply)
    if reply.positive:
        session.accepted.inc()
        session.idle_commands = 0
    if session.listener.lmtp:
        for _ in transaction.recipients[1:]:
            session.say(reply)
    return reply
