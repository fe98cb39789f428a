"""What a resolver promises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class DnsUnavailable(Exception):
    """No answer: SERVFAIL, a refusal, a time-out.  Nothing is known of the name; ask later."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The records of one type of one name."""

    records: tuple[T, ...]
    exists: bool
    """False: there is no such name (NXDOMAIN).  True without records: not of this type."""
    ttl: float
    """Seconds for which the answer may be kept."""


@dataclass(frozen=True, slots=True)
class Mx:
    """One mail exchanger; the empty host is the null MX (RFC 7505 §3)."""

    preference: int
    host: str


class Resolver(Protocol):
    """Asks for records.  Names are absolute, with or without the last dot, in any case.

    Every method raises `DnsUnavailable` when there is no answer.
    """

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined without a space (RFC 7208 §3.3)."""
        ...

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, by ascending preference."""
        ...

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        ...

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        ...

    async def ptr(self, address: str) -> Answer[str]:
        """The names of an IP address; `ValueError` when it is none."""
        ...

    async def close(self) -> None:
        """Give up questions under way."""
        ...


def reverse_name(address: str) -> str:
    """The name under in-addr.arpa or ip6.arpa; `ValueError` when it is no IP address."""
    return ip_address(address).reverse_pointer


@lru_cache(maxsize=16_384)
def canonical_name(name: str) -> str | None:
    """The name in lower case and ASCII without its last dot; None when no such name can exist."""
    name = name.rstrip(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return None
    labels = name.split(".")
    # RFC 1035 §2.3.4: labels of 63 octets, names of 255 with their length octets.
    fits = len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)
    return name if fits and all(" " <= sign <= "~" for sign in name) else None
