"""The mechanisms by name, and which of them a connection may be offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from libs.protocols.sasl.bearer import OAuthBearer, XOAuth2
from libs.protocols.sasl.external import External
from libs.protocols.sasl.plain import Login, Plain
from libs.protocols.sasl.scram import Scram
from libs.protocols.sasl.step import ExchangeError, Step

MAX_RESPONSE = 8 * 1024
"""Octets of one response, decoded; a bearer token is the longest thing in it."""


class Mechanism(Protocol):
    """One exchange; used once."""

    def begin(self, initial: bytes | None) -> Step:
        """The first step, with the initial response; raises `ExchangeError`."""
        ...

    def receive(self, response: bytes) -> Step:
        """The next step, after the client's answer to a challenge; raises `ExchangeError`."""
        ...


def make_mechanism(name: str, nonce: str, bindings: Mapping[str, bytes]) -> Mechanism | None:
    """The mechanism of this name; None when there is no such one.

    `nonce` is fresh, random and printable without a comma.  `bindings` are the channel bindings
    of the TLS connection by type, e.g. `tls-unique`; -PLUS needs one (RFC 5802 §6).
    """
    match name:
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case "OAUTHBEARER":
            return OAuthBearer()
        case "XOAUTH2":
            return XOAuth2()
        case "EXTERNAL":
            return External()
        case "SCRAM-SHA-1" | "SCRAM-SHA-256":
            return Scram(name.removeprefix("SCRAM-"), nonce, bindings, plus=False)
        case "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-256-PLUS" if bindings:
            hash_name = name.removeprefix("SCRAM-").removesuffix("-PLUS")
            return Scram(hash_name, nonce, bindings, plus=True)
    return None


__all__ = ["MAX_RESPONSE", "ExchangeError", "Mechanism", "make_mechanism"]
