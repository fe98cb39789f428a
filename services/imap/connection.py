"""The shell around a session: reading, collecting commands, ending."""

from __future__ import annotations

import asyncio
import ssl

from libs.common.runtime.log import get_logger
from libs.protocols.imap.collect import Complete, Continue, Refused
from services.imap.gateway import Gateway
from services.imap.outcome import Bad
from services.imap.session import Session
from services.imap.stream import Stream

log = get_logger(__name__)


async def serve(
    gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool
) -> None:
    """Talk to one client until one of us ends it."""
    peer = writer.get_extra_info("peername")
    ip = str(peer[0]) if peer else ""
    session = Session(
        gateway, Stream(reader, writer), tls=tls, loopback=ip.startswith("127.") or ip == "::1"
    )
    try:
        if len(gateway.sessions) >= gateway.settings.max_connections:
            session.untagged(b"BYE too many connections; please try again later")
            await session.stream.flush()
            return
        gateway.sessions.add(session)
        await _converse(session)
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass  # The client is gone; every command that was answered OK is committed.
    except Exception:
        log.exception("session failed", peer=ip)
    finally:
        session.leave()
        gateway.sessions.discard(session)
        session.stream.close()


async def _converse(session: Session) -> None:
    session.untagged(b"OK [CAPABILITY " + session.capabilities() + b"] Holub is ready")
    await session.stream.flush()
    while not session.closing:
        collected = session.collector.next()
        match collected:
            case None:
                if not await _receive(session):
                    return
            case Continue():
                session.stream.add(b"+ go ahead\r\n")
                await session.stream.flush()
            case Complete(raw):
                await session.execute(raw)
            case Refused(tag, text, fatal):
                session.stream.add(Bad(text).line(tag or "*"))
                await session.stream.flush()
                if fatal:
                    return


async def _receive(session: Session) -> bool:
    """Read more; False at the end of the connection."""
    settings = session.gateway.settings
    seconds = settings.idle_seconds if session.account else settings.login_seconds
    try:
        data = await session.stream.read(seconds)
    except TimeoutError:
        session.untagged(b"BYE you said nothing for too long")
        await session.stream.flush()
        return False
    session.collector.receive(data)
    return bool(data)
