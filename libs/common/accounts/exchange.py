"""A SASL exchange from its first word to the account: what all roles with logins have in common.

A role brings one function, which sends a challenge and waits for the client's answer in its own
framing, and turns what is raised here into replies of its own.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping

from libs.common.accounts.account import Account
from libs.common.accounts.authenticator import Attempt, Authenticator
from libs.protocols.sasl import (
    Challenge,
    CheckPassword,
    ExchangeError,
    FindKeys,
    Mechanism,
    Proved,
    Step,
    Wrong,
    make_mechanism,
)
from libs.protocols.sasl.scram import Scram

Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends a challenge (decoded), gives the response (decoded)."""

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
PLUS_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")


class NoSuchMechanism(Exception):
    """The client asked for a mechanism that it is not offered."""


def channel_bindings(connection: ssl.SSLObject | None) -> dict[str, bytes]:
    """What SCRAM's -PLUS can be bound to (RFC 5929 §3).

    Only before TLS 1.3, which has no tls-unique (RFC 8446, appendix C.5); its tls-exporter
    (RFC 9266) cannot be had from Python.
    """
    if connection is None or connection.version() == "TLSv1.3":
        return {}
    unique = connection.get_channel_binding("tls-unique")
    return {"tls-unique": unique} if unique else {}


def offered(authenticator: Authenticator, bindings: Mapping[str, bytes]) -> tuple[str, ...]:
    """The mechanisms that are announced; SCRAM is taken from who asks for it in any case."""
    names = taken(bindings)
    if authenticator.scram:
        return names
    return tuple(name for name in names if not name.startswith("SCRAM-"))


def taken(bindings: Mapping[str, bytes]) -> tuple[str, ...]:
    """The mechanisms for a connection with these channel bindings, the best first."""
    return (*PLUS_MECHANISMS, *MECHANISMS) if bindings else MECHANISMS


def decode_response(text: bytes, *, empty: bytes = b"=") -> bytes:
    """A client's response, from base64; `empty` is how its protocol writes none at all.

    `ExchangeError` when the client gives up (`*`), or it is not base64.
    """
    if text == b"*":
        raise ExchangeError("cancelled")
    try:
        return b"" if text == empty else base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ExchangeError("not base64") from error


async def authenticate(
    authenticator: Authenticator,
    attempt: Attempt,
    name: str,
    initial: bytes | None,
    ask: Ask,
    bindings: Mapping[str, bytes],
) -> Account:
    """The account that proved itself.

    Raises `NoSuchMechanism`, `ExchangeError`, and what `Authenticator` raises.
    """
    mechanism = None
    if name in taken(bindings):
        mechanism = make_mechanism(name, secrets.token_urlsafe(18), bindings)
    if mechanism is None:
        raise NoSuchMechanism(f"mechanisms are {' '.join(offered(authenticator, bindings))}")
    authenticator.admit("", attempt)
    step = mechanism.begin(initial)
    while isinstance(step, Challenge | FindKeys):
        if isinstance(step, Challenge):
            step = mechanism.receive(await ask(step.octets))
        else:
            step = await _keys(authenticator, mechanism, step.login, attempt)
    if isinstance(step, Proved):
        # Our own proof goes as a last challenge, which all protocols know; the answer is empty.
        account = await authenticator.proved(step.login, attempt)
        await ask(step.octets)
        return account
    return await _conclude(authenticator, attempt, step)


async def _keys(
    authenticator: Authenticator, mechanism: Mechanism, login: str, attempt: Attempt
) -> Step:
    assert isinstance(mechanism, Scram)
    authenticator.admit(login, attempt)
    return mechanism.keys(await authenticator.keys(login, mechanism.hash_name))


async def _conclude(authenticator: Authenticator, attempt: Attempt, step: Step) -> Account:
    match step:
        case CheckPassword(login, password):
            return await authenticator.password(login, password, attempt)
        case Wrong(login):
            await authenticator.fail(login, attempt)
    raise ExchangeError("this mechanism is not offered here")


__all__ = [
    "Ask",
    "ExchangeError",
    "NoSuchMechanism",
    "authenticate",
    "channel_bindings",
    "decode_response",
    "offered",
]
