"""CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ID, ENABLE, LOGOUT (RFC 9051 §6.1, §6.2)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING

from libs.protocols.imap.parse import ParseError, Parser
from services.imap.outcome import Bad, Done, No, Silent

if TYPE_CHECKING:
    from services.imap.session import Session

_MAX_SASL = 8 * 1024


async def capability(session: Session, parser: Parser) -> Done:
    """CAPABILITY."""
    parser.end()
    session.untagged(b"CAPABILITY " + session.capabilities())
    return Done("that is all")


async def logout(session: Session, parser: Parser) -> Done:
    """LOGOUT."""
    parser.end()
    session.untagged(b"BYE goodbye")
    session.closing = True
    return Done("logged out")


async def identify(session: Session, parser: Parser) -> Done:
    """ID (RFC 2971)."""
    parser.space()
    if not (parser.take(b"NIL") or parser.take(b"nil")):
        parser.expect(b"(")
        count = 0
        while not parser.take(b")"):
            parser.nstring()
            count += 1
            if count > 60:
                raise ParseError("ID has at most 30 fields")
            if not parser.peek(b")"):
                parser.space()
    parser.end()
    session.untagged(b'ID ("name" "Holub")')
    return Done("nice to meet you")


_ENABLED = ("CONDSTORE", "QRESYNC", "IMAP4REV2", "UTF8=ACCEPT", "UIDONLY")
_SPELLED = {"IMAP4REV2": "IMAP4rev2"}


async def enable(session: Session, parser: Parser) -> Done:
    """ENABLE (RFC 5161): what we do not know is passed over."""
    parser.space()
    words = [parser.atom()]
    while parser.take(b" "):
        words.append(parser.atom())
    parser.end()
    known = [word for word in dict.fromkeys(words) if word in _ENABLED]
    session.enabled.update(known)
    if "CONDSTORE" in known or "QRESYNC" in known:
        session.use_condstore()
    session.untagged(" ".join(["ENABLED", *(_SPELLED.get(w, w) for w in known)]).encode())
    return Done("enabled what we have")


async def compress(session: Session, parser: Parser) -> Done:
    """COMPRESS (RFC 4978)."""
    parser.space()
    algorithm = parser.atom()
    parser.end()
    if algorithm != "DEFLATE":
        raise No("the algorithm is DEFLATE", "CANNOT")
    if session.stream.compressed:
        raise No("compression is active already", "COMPRESSIONACTIVE")
    session.stream.add(b"%b OK deflating from here on\r\n" % session.tag.encode())
    await session.stream.flush()
    session.stream.compress(session.collector.drain())
    return Silent()


async def unauthenticate(session: Session, parser: Parser) -> Done:
    """UNAUTHENTICATE (RFC 8437): back to where nobody is logged in."""
    parser.end()
    session.distrust()
    return Done("who are you?", f"CAPABILITY {session.capabilities().decode()}")


async def starttls(session: Session, parser: Parser) -> Done:
    """STARTTLS; what the client sent after it in plain text is thrown away."""
    parser.end()
    if session.gateway.tls is None or session.tls:
        raise Bad("TLS is active already, or not to be had")
    session.stream.add(b"%b OK begin TLS now\r\n" % _tag(parser))
    await session.stream.flush()
    session.collector.clear()
    await session.stream.start_tls(session.gateway.tls)
    session.tls = True
    return Silent()


def _tag(parser: Parser) -> bytes:
    return parser.raw.split(b" ", 1)[0]


async def login(session: Session, parser: Parser) -> Done:
    """LOGIN."""
    parser.space()
    name = parser.astring()
    parser.space()
    password = parser.astring()
    parser.end()
    _check_allowed(session)
    return await _log_in(session, name, password)


def _check_allowed(session: Session) -> None:
    if not session.situation.login_allowed:
        raise No("say STARTTLS first: passwords need TLS", "PRIVACYREQUIRED")


async def _log_in(session: Session, name: bytes, password: bytes) -> Done:
    try:
        login_name, secret = name.decode(), password.decode()
    except UnicodeDecodeError as error:
        raise Bad("names and passwords are UTF-8") from error
    account = await session.gateway.directory.authenticate(login_name, secret)
    if account is None:
        raise await _wrong(session)
    session.trust(account)
    return Done("welcome", f"CAPABILITY {session.capabilities().decode()}")


async def _wrong(session: Session) -> No:
    """Late, so that guessing is slow, and not for ever."""
    settings = session.gateway.settings
    session.wrong_logins += 1
    await asyncio.sleep(settings.login_delay_seconds)
    if session.wrong_logins >= settings.max_logins:
        session.untagged(b"BYE too many wrong passwords")
        session.closing = True
    return No("wrong address or password", "AUTHENTICATIONFAILED")


async def authenticate(session: Session, parser: Parser) -> Done:
    """AUTHENTICATE PLAIN, with or without an initial response (RFC 4616, RFC 4959)."""
    parser.space()
    mechanism = parser.atom()
    initial = parser.rest().strip()
    _check_allowed(session)
    if mechanism != "PLAIN":
        raise No("the mechanism is PLAIN", "CANNOT")
    answer = initial or await _ask(session)
    if answer == b"*":
        raise Bad("authentication cancelled")
    try:
        parts = base64.b64decode(b"" if answer == b"=" else answer, validate=True).split(b"\0")
    except binascii.Error as error:
        raise Bad("not base64") from error
    if len(parts) != 3:
        raise Bad("PLAIN is authzid NUL authcid NUL password")
    if parts[0] and parts[0] != parts[1]:
        raise await _wrong(session)
    return await _log_in(session, parts[1], parts[2])


async def _ask(session: Session) -> bytes:
    session.stream.add(b"+ \r\n")
    await session.stream.flush()
    while (line := session.collector.take_line()) is None:
        if session.collector.waiting > _MAX_SASL:
            raise ConnectionError("no answer to the challenge")
        await session.receive()
    return line.strip()
