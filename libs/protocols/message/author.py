"""The author of a message: the one reading of From for DMARC, display, API and Sieve.

Where two programs could read two authors out of the field, there is none: a forger needs exactly
that difference.  So several From fields, several domains, and anything whose `@` signs do not add
up to its addresses fail closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.protocols.message.address import Address, parse_addresses
from libs.protocols.message.header import Header, unfold

MAX_OCTETS = 16_384
"""Octets of a From field that are read."""
MAX_AUTHORS = 100

_QUOTED = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_COMMENT = re.compile(rb"\((?:[^()\\]++|\\.)*+\)", re.DOTALL)
_MAX_NESTED = 10
# A domain as it may be shown and looked up: labels of letters, digits, hyphens, or UTF-8.
_DOMAIN = re.compile(rb"[0-9A-Za-z_\x80-\xff-]++(?:\.[0-9A-Za-z_\x80-\xff-]++)*+\.?")


@dataclass(frozen=True, slots=True)
class Author:
    """Who a message says that it is from."""

    addresses: tuple[Address, ...] = ()
    """Empty when the field cannot be read in exactly one way."""
    domain: str = ""
    """The domain of all of them, in lower case; empty: there is none that could be trusted."""
    reason: str = ""
    """Why there is no domain."""
    missing: bool = False
    """There is no From field at all, so nothing is shown that could be forged."""


def read_author(header: Header) -> Author:
    """The author that the header names."""
    fields = [field.value for field in header.fields if field.name == b"from"]
    if not fields:
        return Author(reason="there is no From field", missing=True)
    if len(fields) > 1:
        return Author(reason=f"there are {len(fields)} From fields (RFC 5322 §3.6)")
    value = unfold(fields[0])
    if len(value) > MAX_OCTETS:
        return Author(reason="the From field is too long")
    listed = parse_addresses(value, MAX_AUTHORS)
    addresses = tuple(one for one in listed.addresses if one.domain is not None)
    if listed.limited or not addresses:
        return Author(reason="the From field has no address that can be read")
    return _checked(value, addresses)


def _checked(value: bytes, addresses: tuple[Address, ...]) -> Author:
    signs = _signs(value)
    if signs != len(addresses) or b"\0" in value or b"\r" in value:
        return Author(reason="the From field can be read in several ways")
    domains = {(one.domain or b"").rstrip(b".").lower() for one in addresses}
    if len(domains) > 1:
        return Author(reason="the From field names several domains")
    domain = domains.pop()
    if not _DOMAIN.fullmatch(domain) or not all(one.local_part for one in addresses):
        return Author(reason="the From field has no domain that can be looked up")
    try:
        return Author(addresses, domain.decode())
    except UnicodeDecodeError:
        return Author(reason="the From field has no domain that can be looked up")


def _signs(value: bytes) -> int:
    """How many `@` stand outside of quoted strings and comments; -1: where these end is unclear."""
    rest = _QUOTED.sub(b"", value)
    for _ in range(_MAX_NESTED):
        rest, found = _COMMENT.subn(b"", rest)
        if not found:
            break
    if any(sign in rest for sign in (b'"', b"(", b")")) or rest.count(b"<") != rest.count(b">"):
        return -1
    return rest.count(b"@")
