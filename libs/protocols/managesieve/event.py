"""What a client asks for, after the session has found it well-formed and in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capability:
    """Which capabilities there are now."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Begin TLS."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """SASL (RFC 5804 §2.1); answers to challenges come as `SaslAnswer`."""

    mechanism: str
    initial: bytes | None
    """Still in base64; None: without an initial response."""


@dataclass(frozen=True, slots=True)
class SaslAnswer:
    """The client's answer to a challenge, still in base64; `*` cancels."""

    text: bytes


@dataclass(frozen=True, slots=True)
class HaveSpace:
    """Would a script of this name and size be taken?"""

    name: str
    octets: int


@dataclass(frozen=True, slots=True)
class PutScript:
    """Store a script."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class CheckScript:
    """Is this a valid script?"""

    content: bytes


@dataclass(frozen=True, slots=True)
class ListScripts:
    """The names of all scripts."""


@dataclass(frozen=True, slots=True)
class SetActive:
    """Run this script, or none when the name is empty."""

    name: str


@dataclass(frozen=True, slots=True)
class GetScript:
    """One script."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteScript:
    """Remove a script."""

    name: str


@dataclass(frozen=True, slots=True)
class RenameScript:
    """Give a script another name."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Logout:
    """The end."""


Event = (
    Capability
    | StartTls
    | Authenticate
    | SaslAnswer
    | HaveSpace
    | PutScript
    | CheckScript
    | ListScripts
    | SetActive
    | GetScript
    | DeleteScript
    | RenameScript
    | Logout
)
