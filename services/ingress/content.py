"""Receiving content: in blocks, counted, checked, and committed where nothing can cut it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from libs.common.blobstore.spool import SpoolFile
from libs.common.runtime.telemetry import MessageSpan
from libs.protocols.message.received import count_received
from libs.protocols.smtp.data import DataDecoder
from libs.protocols.smtp.line_ends import LineEnds
from libs.protocols.smtp.reply import BARE_LINE_END, LOCAL_ERROR, TOO_BIG, Refusal, Reply
from services.ingress.pace import Pace
from services.ingress.policy import check_author

if TYPE_CHECKING:
    from services.ingress.session import Session
    from services.ingress.transaction import MailTransaction

_BLOCK = 64 * 1024
_HEADER_LOOK = 256 * 1024
LOOP = Reply(554, "5.4.6", "too many Received fields; this message goes in a circle")


class Content:
    """The content of one transaction while it arrives; `close` it when it is not committed."""

    def __init__(self, session: Session) -> None:
        settings = session.server.settings
        self._session = session
        self._limit = settings.max_message_octets
        self._spool = SpoolFile(settings.spool_folder or None)
        self._ends = LineEnds()
        self.received = 0
        """Octets so far, also those that were thrown away."""
        self.pace = Pace()
        self.refusal: Reply | None = None
        """Why it cannot be taken; what still comes is thrown away."""

    async def read_data(self) -> None:
        """All of it, up to the final dot."""
        decoder = DataDecoder()
        while not decoder.done:
            await self._take(decoder.feed(await self._session.read(_BLOCK)))
        if decoder.rest:
            self._session.give_back(decoder.rest)

    async def read_chunk(self, octets: int) -> None:
        """One chunk of it (RFC 3030 §2)."""
        if self._spool.size + octets > self._limit:
            self.refusal = self.refusal or TOO_BIG
        while octets:
            block = await self._session.read(min(_BLOCK, octets))
            octets -= len(block)
            await self._take(block)

    async def _take(self, block: bytes) -> None:
        self._session.octets.inc(len(block))
        self.received += len(block)
        if self.refusal or not block:
            return
        self._ends.feed(block)
        self.refusal = self._fault()
        if self._spool.size + len(block) > self._limit:
            self.refusal = TOO_BIG
        if not self.refusal:
            try:
                await self._spool.write(block)
            except OSError as error:
                # The disk is full: the rest is read and thrown away, so that the client hears why.
                self._session.server.log_fault("", error)
                self.refusal = LOCAL_ERROR

    def _fault(self) -> Reply | None:
        return BARE_LINE_END if self._ends.bare else None

    async def commit(self, mail: MailTransaction) -> Reply:
        """The reply to the end of the content; a `Refusal` when it is not taken."""
        session, spool, task = self._session, self._spool, None
        try:
            self._ends.end()
            if refusal := self.refusal or self._fault():
                raise Refusal(refusal)
            content = await spool.finish()
            start = await self._start(content)
            check_loop(start, session.server.settings.max_received)
            if session.account is not None:
                await check_author(session.server.directory, session.account, start)
            span = MessageSpan(mail.mail_id, session.listener.name)
            header = mail.header(
                session.listener.name,
                session.server.settings.hostname,
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

    async def _start(self, content: bytes | SpoolFile) -> bytes:
        """The header, as far as anybody looks."""
        if isinstance(content, bytes):
            start = content[:_HEADER_LOOK]
        else:
            start = await asyncio.to_thread(self._spool.pread, 0, _HEADER_LOOK)
        end = start.find(b"\r\n\r\n")
        return start[: end + 2] if end >= 0 else start

    def close(self) -> None:
        """Throw it away."""
        self._spool.close()


def check_loop(header: bytes, most: int) -> None:
    """A `Refusal` for a message that has been through too many hosts (RFC 5321 §6.3)."""
    if count_received(header) > most:
        raise Refusal(LOOP)
