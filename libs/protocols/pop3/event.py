"""What a client asks for, after the session has found it well-formed and in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capa:
    """Which capabilities there are now."""


@dataclass(frozen=True, slots=True)
class Stls:
    """Begin TLS (RFC 2595 §4)."""


@dataclass(frozen=True, slots=True)
class Login:
    """USER and PASS together."""

    name: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH with a mechanism (RFC 5034); answers to challenges come as `SaslLine`."""

    mechanism: str
    initial: bytes | None
    """Still in base64; None: without an initial response."""


@dataclass(frozen=True, slots=True)
class SaslLine:
    """The client's answer to a challenge, still in base64; `*` cancels."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Stat:
    """How many messages, how many octets."""


@dataclass(frozen=True, slots=True)
class List:
    """Sizes of one message (by its number), or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Uidl:
    """Unique ids of one message, or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retr:
    """A whole message."""

    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """The header and some lines."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Dele:
    """Mark a message; it goes at QUIT."""

    number: int


@dataclass(frozen=True, slots=True)
class Rset:
    """Take all marks back."""


@dataclass(frozen=True, slots=True)
class Quit:
    """The end; marked messages go now if the client had logged in."""


Event = Capa | Stls | Login | Auth | SaslLine | Stat | List | Uidl | Retr | Top | Dele | Rset | Quit
