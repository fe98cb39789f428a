"""XCLIENT: a listed proxy says who the client is (Postfix, XCLIENT_README)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from libs.protocols.smtp.reply import BAD_SEQUENCE, Refusal, Reply
from libs.protocols.smtp.xtext import decode_xtext
from services.ingress.peers import is_listed

if TYPE_CHECKING:
    from services.ingress.session import Session

ATTRIBUTES = ("NAME", "ADDR", "HELO")
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_NAME = re.compile(r"[A-Za-z0-9._:\[\]\-]{1,255}")


def believes(session: Session) -> bool:
    """May this peer say so?  Asked of the peer itself, not of whom it named before."""
    return is_listed(session.peer_ip, session.server.xclient_networks)


async def xclient(session: Session, argument: str) -> Reply:
    """Begin anew as if that client had connected; LOGIN is not among what may be said (I8)."""
    if not believes(session):
        raise Refusal(Reply(550, "5.7.0", "you are not one of HOLUB_INGRESS_XCLIENT_NETWORKS"))
    if session.mail is not None:
        raise Refusal(BAD_SEQUENCE)
    said = dict(_attribute(word) for word in argument.split())
    if not said:
        raise Refusal(Reply(501, "5.5.4", f"attributes are {', '.join(ATTRIBUTES)}"))
    address = _address(said["ADDR"]) if said.get("ADDR") else session.claimed_ip
    session.forget()
    session.claimed_ip = address
    session.rdns = said.get("NAME", session.rdns)
    session.helo = said.get("HELO", "")
    reply = await session.begin()
    if session.helo and session.screening is not None:
        session.screening.heard(session.helo)
    return reply


def _attribute(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    name, value = name.upper(), decode_xtext(value)
    if name not in ATTRIBUTES:
        raise Refusal(Reply(501, "5.5.4", f"attributes are {', '.join(ATTRIBUTES)}"))
    if value.upper() in _UNKNOWN:
        return name, ""
    if name != "ADDR" and not _NAME.fullmatch(value):
        raise Refusal(Reply(501, "5.5.4", f"{name} is a host name"))
    return name, value


def _address(value: str) -> str:
    text = value[5:] if value[:5].upper() == "IPV6:" else value
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise Refusal(Reply(501, "5.5.4", "ADDR is an IP address")) from error
