"""HELO, EHLO and LHLO (RFC 5321 §4.1.1.1, RFC 2033 §4.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from libs.common.accounts.exchange import offered
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.command.xclient import believes
from services.ingress.extensions import Situation, ehlo_lines

if TYPE_CHECKING:
    from services.ingress.session import Session

_NAME = re.compile(r"[A-Za-z0-9._:\[\]\-\u0080-\U0010ffff]{1,255}")


async def helo(session: Session, argument: str) -> Reply:
    """The greeting without extensions."""
    _expect_lmtp(session, False)
    _take_name(session, argument)
    session.extended = False
    return Reply(250, "", session.server.settings.hostname)


async def ehlo(session: Session, argument: str) -> Reply:
    """The greeting that lists the extensions."""
    _expect_lmtp(session, False)
    return _greet(session, argument)


async def lhlo(session: Session, argument: str) -> Reply:
    """LMTP's EHLO."""
    _expect_lmtp(session, True)
    return _greet(session, argument)


def _expect_lmtp(session: Session, lmtp: bool) -> None:
    if session.listener.lmtp != lmtp:
        word = "SMTP; say EHLO" if lmtp else "LMTP; say LHLO (RFC 2033 §4.1)"
        raise Refusal(Reply(500, "5.5.1", f"this is {word}"))


def _take_name(session: Session, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refusal(Reply(501, "5.5.4", "give your host name or [address literal]"))
    session.count_idle()
    session.helo = name
    if session.screening is not None:
        session.screening.heard(name)
    session.end_transaction()


def _greet(session: Session, argument: str) -> Reply:
    _take_name(session, argument)
    session.extended = True
    situation = Situation(
        session.server.settings.max_message_octets,
        session.server.settings.max_recipients,
        session.server.tls is not None,
        session.tls,
        session.account is not None,
        _mechanisms(session),
        believes(session),
    )
    lines = [session.server.settings.hostname, *ehlo_lines(situation)]
    return Reply(250, "", "\n".join(lines))


def _mechanisms(session: Session) -> tuple[str, ...]:
    if not (session.listener.submission and session.tls):
        return ()
    return offered(session.server.authenticator, session.bindings)
