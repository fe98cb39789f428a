"""How well a connection must be protected before mail goes over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")


class Level(IntEnum):
    """From nothing to a proven name; a higher one holds all that lower ones ask for."""

    NONE = 0
    """Plain text, for hosts whose TLS is broken."""
    MAY = 1
    """TLS when it is offered and works: against those who only listen (RFC 7435)."""
    ENCRYPT = 2
    """TLS or no mail; nobody's name is checked."""
    VERIFY = 3
    """TLS with a certificate of a known authority for the host's name, or no mail."""
    DANE = 4
    """TLS with a certificate that a signed TLSA record names, or no mail (RFC 7672)."""


@dataclass(frozen=True, slots=True)
class Tlsa:
    """What a TLSA record says of a certificate (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What one connection must have."""

    level: Level = Level.MAY
    tlsa: tuple[Tlsa, ...] = ()
    """For DANE: any of these will do."""
    known_name: bool = field(default=False, compare=False)
    """The name of the host does not come from unsigned DNS, so that a certificate for it proves
    something (RFC 8689 §4.2.1).  It says nothing of the connection, so equal ones are shared."""


MAY = TlsPolicy()


def parse_levels(text: str) -> dict[str, Level]:
    """`DOMAIN=LEVEL,...` with none, may, encrypt or verify; `ValueError` says what is wrong."""
    allowed = {level.name.lower(): level for level in Level if level is not Level.DANE}
    levels: dict[str, Level] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        domain, _, word = item.partition("=")
        if not domain or word.strip().lower() not in allowed:
            raise ValueError(f"{item!r}: write DOMAIN=LEVEL with one of {', '.join(allowed)}")
        levels[domain.strip().lower()] = allowed[word.strip().lower()]
    return levels


def for_domain(table: Mapping[str, T], domain: str) -> T | None:
    """The entry of the domain itself, of `.parent` for the nearest parent, or of `*`."""
    domain = domain.lower()
    if domain in table:
        return table[domain]
    at = domain.find(".")
    while at >= 0:
        if domain[at:] in table:
            return table[domain[at:]]
        at = domain.find(".", at + 1)
    return table.get("*")
