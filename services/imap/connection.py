"""The shell around a session: reading, collecting commands, ending."""

from __future__ import annotations

import asyncio
import ssl

from libs.common.runtime.log import get_logger
from libs.protocols.imap.collect import Complete, Continue, Incoming, Refused
from services.imap.gateway import Gateway
from services.imap.outcome import Bad, No
from services.imap.session import Session
from services.imap.stream import Stream, TooSlow

log = get_logger(__name__)
_GONE = (ConnectionError, ssl.SSLError)


async def serve(
    gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool
) -> None:
    """Talk to one client until one of us ends it."""
    peer = writer.get_extra_info("peername")
    ip = str(peer[0]) if peer else ""
    settings = gateway.settings
    stream = Stream(
        reader,
        writer,
        login_seconds=settings.login_seconds,
        write_seconds=settings.write_seconds,
    )
    session = Session(gateway, stream, tls=tls, ip=ip)
    try:
        await _talk(session)
    except _GONE:
        pass  # The client is gone; every command that was answered OK is committed.
    except Exception:
        log.exception("session failed", peer=ip)
    finally:
        session.leave()
        gateway.sessions.discard(session)
        stream.close()


async def _talk(session: Session) -> None:
    gateway = session.gateway
    if gateway.full:
        await _bye(session, b"too many connections; please try again later")
        return
    gateway.sessions.add(session)
    try:
        await _converse(session)
    except TooSlow:
        await _bye(session, b"you said nothing for too long")
    except asyncio.CancelledError:
        # `Session.stop` does this, while we wait for the next command and for nothing else.
        if not gateway.stopping:
            raise
        await _bye_stopping(session)
    else:
        if gateway.stopping:
            await _bye_stopping(session)


async def _bye_stopping(session: Session) -> None:
    await _bye(session, b"shutting down for maintenance; please connect again")


async def _bye(session: Session, why: bytes) -> None:
    session.untagged(b"BYE " + why)
    await session.stream.flush()


async def _converse(session: Session) -> None:
    session.untagged(b"OK [CAPABILITY " + session.capabilities() + b"] Holub is ready")
    await session.stream.flush()
    while not session.closing:
        collected = session.collector.next()
        match collected:
            case None:
                await session.receive()
            case Continue():
                session.stream.add(b"+ go ahead\r\n")
                await session.stream.flush()
            case Complete(raw):
                await session.execute(raw)
            case Incoming(raw):
                await session.execute(raw, collected)
            case Refused():
                await _refuse(session, collected)


async def _refuse(session: Session, refused: Refused) -> None:
    outcome = No(refused.text, refused.code) if refused.code else Bad(refused.text)
    session.stream.add(outcome.line(refused.tag or "*"))
    if refused.fatal:
        session.closing = True
        session.untagged(b"BYE the rest of that command cannot be skipped")
    await session.stream.flush()
