"""CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ID, ENABLE, LOGOUT (RFC 9051 §6.1, §6.2)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from libs.common.accounts import Account, exchange
from libs.common.accounts.authenticator import Attempt, LoginRefused, WrongCredentials
from libs.protocols.imap.parse import ParseError, Parser
from services.imap.outcome import Bad, Done, No, Silent

if TYPE_CHECKING:
    from services.imap.session import Session

_MAX_SASL = 12 * 1024
"""Octets of a response in base64; tokens are long."""
_SCOPE = "imap"


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
    if not session.situation.mechanisms:
        raise No("say STARTTLS first: passwords need TLS", "PRIVACYREQUIRED")


async def _log_in(session: Session, name: bytes, password: bytes) -> Done:
    try:
        login_name, secret = name.decode(), password.decode()
    except UnicodeDecodeError as error:
        raise Bad("names and passwords are UTF-8") from error
    attempt = Attempt(_SCOPE, session.ip)
    return await _welcome(
        session, session.gateway.authenticator.password(login_name, secret, attempt)
    )


async def _welcome(session: Session, proving: Awaitable[Account]) -> Done:
    """Let in who proves to be somebody; whoever guesses on is let go."""
    try:
        account = await proving
    except LoginRefused as error:
        session.wrong_logins += 1
        if session.wrong_logins >= session.gateway.settings.max_logins:
            session.untagged(b"BYE too many failed logins")
            session.closing = True
        # RFC 5530 §3: CONTACTADMIN and LIMIT would be other things than a pause.
        code = "AUTHENTICATIONFAILED" if isinstance(error, WrongCredentials) else "UNAVAILABLE"
        raise No(str(error), code) from error
    session.trust(account)
    return Done("welcome", f"CAPABILITY {session.capabilities().decode()}")


async def authenticate(session: Session, parser: Parser) -> Done:
    """AUTHENTICATE, with or without an initial response (RFC 9051 §6.2.2, RFC 4959)."""
    parser.space()
    name = parser.atom()
    initial = parser.rest().strip()
    _check_allowed(session)

    async def ask(challenge: bytes) -> bytes:
        return _decode(await _ask(session, base64.b64encode(challenge)))

    try:
        return await _welcome(
            session,
            exchange.authenticate(
                session.gateway.authenticator,
                Attempt(_SCOPE, session.ip),
                name,
                _decode(initial) if initial else None,
                ask,
                session.bindings,
            ),
        )
    except exchange.NoSuchMechanism as error:
        raise No(str(error), "CANNOT") from error
    except exchange.ExchangeError as error:
        raise Bad(str(error)) from error


def _decode(answer: bytes) -> bytes:
    if answer == b"*":
        raise Bad("authentication cancelled")
    return exchange.decode_response(answer)


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.stream.add(b"+ %b\r\n" % challenge)
    await session.stream.flush()
    while (line := session.collector.take_line()) is None:
        if session.collector.waiting > _MAX_SASL:
            raise ConnectionError("no answer to the challenge")
        await session.receive()
    return line.strip()
