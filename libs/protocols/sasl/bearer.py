"""OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2: the proof is a token from an issuer."""

from __future__ import annotations

import json

from libs.protocols.sasl.plain import text
from libs.protocols.sasl.step import Challenge, CheckToken, ExchangeError, Step, Wrong

_SEPARATOR = "\x01"


class _Bearer:
    """What both have in common: one message, and a failure that is told as JSON."""

    def __init__(self) -> None:
        self._login = ""
        self._refused = False

    def begin(self, initial: bytes | None) -> Step:
        """Without an initial response the challenge is empty."""
        return Challenge(b"") if initial is None else self.receive(initial)

    def receive(self, response: bytes) -> Step:
        """The message; after a refusal whatever comes, since the exchange has failed."""
        if self._refused:
            return Wrong(self._login)
        head, *fields = text(response).split(_SEPARATOR)
        if len(fields) < 2 or fields[-2:] != ["", ""]:
            raise ExchangeError("the message ends with two ^A (RFC 7628 §3.1)")
        self._login = self._name(head)
        values = dict(field.partition("=")[::2] for field in fields[:-2])
        scheme, _, token = values.get("auth", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ExchangeError("the message needs auth=Bearer TOKEN (RFC 7628 §3.1)")
        return CheckToken(self._login, token.strip())

    def refuse(self, configuration: str = "") -> Step:
        """Tell the client where a better token comes from (RFC 7628 §3.2.2)."""
        self._refused = True
        answer = {"status": "invalid_token"}
        if configuration:
            answer["openid-configuration"] = configuration
        return Challenge(json.dumps(answer).encode())

    def _name(self, head: str) -> str:
        raise NotImplementedError


class OAuthBearer(_Bearer):
    """`n,a=LOGIN,^Ahost=...^Aport=...^Aauth=Bearer TOKEN^A^A`; the login may be left out."""

    def _name(self, head: str) -> str:
        flag, _, rest = head.partition(",")
        # The GS2 header (RFC 5801 §4); a token is bound to no channel.
        if flag not in ("n", "y") or not rest.endswith(",") or rest.count(",") != 1:
            raise ExchangeError("the message begins with a GS2 header, n,a=NAME, (RFC 7628 §3.1)")
        name = rest[:-1]
        if name and not name.startswith("a="):
            raise ExchangeError("the name is given as a=NAME (RFC 5801 §4)")
        return name[2:].replace("=2C", ",").replace("=3D", "=")


class XOAuth2(_Bearer):
    """`user=LOGIN^Aauth=Bearer TOKEN^A^A`."""

    def _name(self, head: str) -> str:
        key, _, name = head.partition("=")
        if key != "user":
            raise ExchangeError("the message begins with user=NAME")
        return name
