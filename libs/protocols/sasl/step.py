"""What a mechanism asks its caller to do next."""

from __future__ import annotations

from dataclasses import dataclass


class ExchangeError(Exception):
    """The client broke the mechanism's grammar; the text says which rule."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this, and give the client's answer to `receive`."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """Is this the account's password?  The exchange ends here."""

    login: str
    password: str


@dataclass(frozen=True, slots=True)
class FindKeys:
    """Give the SCRAM keys of this account to `keys`; those of nobody when there is none."""

    login: str


@dataclass(frozen=True, slots=True)
class CheckToken:
    """Does this bearer token stand for this account (empty: whom it names)?

    When it does not, go on with `refuse`: the client is told before the exchange fails.
    """

    login: str
    token: str


@dataclass(frozen=True, slots=True)
class CheckCertificate:
    """Does the client's TLS certificate stand for this account (empty: whom it names)?"""

    login: str


@dataclass(frozen=True, slots=True)
class Proved:
    """The client proved to be this account; `octets` is the proof of ours, sent with success."""

    login: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Wrong:
    """The proof is wrong."""

    login: str


Step = Challenge | CheckPassword | FindKeys | CheckToken | CheckCertificate | Proved | Wrong
