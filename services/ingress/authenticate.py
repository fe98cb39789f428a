"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616); only under TLS, which the session has checked."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from libs.common.accounts import Account, Directory, DirectoryUnavailable
from libs.protocols.smtp.reply import Refusal, Reply

if TYPE_CHECKING:
    from services.ingress.session import Session

# The same words for an unknown account and a wrong password.
WRONG = Reply(535, "5.7.8", "authentication failed: wrong address or password")
AWAY = Reply(454, "4.7.0", "cannot check passwords now; please try again later")
_USERNAME = base64.b64encode(b"Username:")
_PASSWORD = base64.b64encode(b"Password:")


async def authenticate(session: Session, directory: Directory, argument: str) -> Account:
    """The account that proved itself; a `Refusal` otherwise."""
    mechanism, _, initial = argument.partition(" ")
    match mechanism.upper():
        case "PLAIN":
            login, password = await _plain(session, initial)
        case "LOGIN":
            login, password = await _login(session, initial)
        case _:
            raise Refusal(Reply(504, "5.5.4", "mechanisms are PLAIN and LOGIN"))
    try:
        account = await directory.authenticate(login, password)
    except DirectoryUnavailable as error:
        raise Refusal(AWAY) from error
    if account is None:
        raise Refusal(WRONG)
    return account


def _decode(line: bytes) -> str:
    if line == b"*":
        raise Refusal(Reply(501, "5.7.0", "authentication cancelled"))
    try:
        return base64.b64decode(line, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refusal(Reply(501, "5.5.2", "not base64 of UTF-8")) from error


async def _plain(session: Session, initial: str) -> tuple[str, str]:
    line = initial.encode() if initial else await session.ask(b"")
    parts = _decode(line).split("\0")
    if len(parts) != 3:
        raise Refusal(Reply(501, "5.5.2", "PLAIN is authzid NUL authcid NUL password"))
    authzid, login, password = parts
    if authzid and authzid != login:
        raise Refusal(WRONG)
    return login, password


async def _login(session: Session, initial: str) -> tuple[str, str]:
    login = _decode(initial.encode() if initial else await session.ask(_USERNAME))
    return login, _decode(await session.ask(_PASSWORD))
