"""AUTH: SASL in SMTP's framing (RFC 4954); only under TLS, which the command has checked."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from libs.common.accounts import Account, DirectoryUnavailable, exchange
from libs.common.accounts.authenticator import Attempt, TooManyFailures, WrongCredentials
from libs.protocols.smtp.reply import Refusal, Reply

if TYPE_CHECKING:
    from services.ingress.session import Session

SCOPE = "smtp"
AWAY = Reply(454, "4.7.0", "cannot check passwords now; please try again later")


async def authenticate(session: Session, argument: str) -> Account:
    """The account that proved itself; a `Refusal` otherwise."""
    name, _, initial = argument.partition(" ")

    async def ask(challenge: bytes) -> bytes:
        return _decode(await session.ask(base64.b64encode(challenge)))

    try:
        return await exchange.authenticate(
            session.server.authenticator,
            Attempt(SCOPE, session.ip),
            name.upper(),
            # RFC 4954 §4: an empty initial response is a single equals sign.
            _decode(initial.encode()) if initial else None,
            ask,
            session.bindings,
        )
    except WrongCredentials as error:
        raise Refusal(Reply(535, "5.7.8", f"authentication failed: {error}")) from error
    except TooManyFailures as error:
        raise Refusal(Reply(454, "4.7.0", str(error))) from error
    except exchange.NoSuchMechanism as error:
        raise Refusal(Reply(504, "5.5.4", str(error))) from error
    except exchange.ExchangeError as error:
        raise Refusal(Reply(501, "5.5.2", str(error))) from error
    except DirectoryUnavailable as error:
        raise Refusal(AWAY) from error


def _decode(line: bytes) -> bytes:
    if line == b"*":
        raise Refusal(Reply(501, "5.7.0", "authentication cancelled"))
    return exchange.decode_response(line)
