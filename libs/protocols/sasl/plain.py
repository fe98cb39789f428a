"""PLAIN (RFC 4616), and LOGIN, which has no standard but many clients."""

from __future__ import annotations

from libs.protocols.sasl.step import Challenge, CheckPassword, ExchangeError, Step

_PROMPTS = (Challenge(b"Username:"), Challenge(b"Password:"))


def text(octets: bytes) -> str:
    """UTF-8 without NUL; raises `ExchangeError`."""
    try:
        decoded = octets.decode()
    except UnicodeDecodeError as error:
        raise ExchangeError("names and passwords are UTF-8") from error
    if "\0" in decoded:
        raise ExchangeError("a NUL has no place in a name or password")
    return decoded


class Plain:
    """`[authzid] NUL authcid NUL passwd`, in one response."""

    def begin(self, initial: bytes | None) -> Step:
        """Without an initial response the challenge is empty."""
        return Challenge(b"") if initial is None else self.receive(initial)

    def receive(self, response: bytes) -> Step:
        """The message; who acts for somebody else is refused, since nobody here may."""
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise ExchangeError("PLAIN is authzid NUL authcid NUL password (RFC 4616 §2)")
        authzid, login, password = map(text, parts)
        if not login or not password:
            raise ExchangeError("PLAIN needs a name and a password (RFC 4616 §2)")
        refuse_other(authzid, login)
        return CheckPassword(login, password)


def refuse_other(authzid: str, login: str) -> None:
    """An authorization identity may only repeat the one that is proved."""
    if authzid and authzid.lower() != login.lower():
        raise ExchangeError("leave the authorization identity empty: nobody acts for others here")


class Login:
    """Two prompts, for name and password."""

    def __init__(self) -> None:
        self._login = ""

    def begin(self, initial: bytes | None) -> Step:
        """Some clients give the name at once."""
        return _PROMPTS[0] if initial is None else self.receive(initial)

    def receive(self, response: bytes) -> Step:
        """The name, then the password."""
        given = text(response)
        if not given:
            raise ExchangeError("LOGIN needs a name and a password")
        if self._login:
            return CheckPassword(self._login, given)
        self._login = given
        return _PROMPTS[1]
