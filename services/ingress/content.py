"""Receiving content: in blocks, counted, checked, and committed where nothing can cut it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from libs.common.blobstore.spool import SpoolFile
from libs.common.runtime.telemetry import MessageSpan
from libs.protocols.message.received import count_received
from libs.protocols.smtp.data import DataDecoder
from libs.protocols.smtp.reply import BARE_LINE_END, LOCAL_ERROR, TOO_BIG, Refusal, Reply
from services.ingress.transaction import MailTransaction

if TYPE_CHECKING:
    from services.ingress.session import Session

_BLOCK = 64 * 1024
_HEADER_LOOK = 256 * 1024
LOOP = Reply(554, "5.4.6", "too many Received fields; this message goes in a circle")


async def receive_content(session: Session, mail: MailTransaction) -> Reply:
    """The reply to the final dot; whatever is wrong, the content is read to its end first."""
    spool, task = SpoolFile(session.server.settings.spool_folder or None), None
    try:
        refusal = await _read(session, spool)
        if refusal:
            raise Refusal(refusal)
        content = await spool.finish()
        await _check_loop(session, spool, content)
        span = MessageSpan(mail.mail_id, session.listener.name)
        header = mail.header(
            session.listener.name,
            session.server.settings.hostname,
            session.account.tenant_id if session.account else 1,
            session.client(),
            span.traceparent,
        )
        # A task of its own, which a disconnect, a timeout or a cancelled session does not end.
        task = session.server.commit_task(header, content, spool)
        reply = await asyncio.shield(task)
        span.end(reply.code)
        session.server.log_message(header, spool.size, reply)
        return reply
    except OSError as error:
        session.server.log_fault(mail.mail_id, error)
        raise Refusal(LOCAL_ERROR) from error
    finally:
        if task is None:  # else the commit still reads from it, and closes it
            spool.close()


async def _read(session: Session, spool: SpoolFile) -> Reply | None:
    """Fill the spool; why the content cannot be taken, or None."""
    decoder, limit = DataDecoder(), session.server.settings.max_message_octets
    refusal = None
    while not decoder.done:
        content = decoder.feed(await session.read(_BLOCK))
        session.octets.inc(len(content))
        if decoder.bare and not refusal:
            refusal = BARE_LINE_END
        if spool.size + len(content) > limit:
            refusal = TOO_BIG
        if content and not refusal:
            try:
                await spool.write(content)
            except OSError as error:
                # The disk is full: the rest is read and thrown away, so that the client hears why.
                session.server.log_fault("", error)
                refusal = LOCAL_ERROR
    if decoder.rest:
        session.give_back(decoder.rest)
    return refusal


async def _check_loop(session: Session, spool: SpoolFile, content: bytes | SpoolFile) -> None:
    if isinstance(content, bytes):
        start = content[:_HEADER_LOOK]
    else:
        start = await asyncio.to_thread(spool.pread, 0, _HEADER_LOOK)
    end = start.find(b"\r\n\r\n")
    if (
        count_received(start[: end + 2] if end >= 0 else start)
        > session.server.settings.max_received
    ):
        raise Refusal(LOOP)
