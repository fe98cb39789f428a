"""SRS: the reverse-path of what is forwarded, in a domain of ours.

The next host checks SPF for the domain of the reverse-path, and only for ours may we send.  So the
original address goes into a local-part that we alone can make, and a bounce to it finds its way
back.  Nothing is stored; the scheme is the one of libsrs2 (`SRS0=hash=day=domain=local-part`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from libs.common.accounts.account import split_address

DAY = 86_400
VALID_DAYS = 21
"""Bounces come within five days, and from who tries longer, later."""
MAX_LOCAL_PART = 64
"""RFC 5321 §4.5.3.1.1."""
_HASH_LENGTH = 8
_DAYS = 1024
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SRS0 = re.compile(
    r"SRS0=([A-Z2-7]{8})=([A-Z2-7]{2})=([^=@]{1,253})=(.{1,64})", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Srs:
    """How reverse-paths are rewritten by one who knows the secret."""

    secret: bytes
    ours: frozenset[str]
    """Of the domains that are asked about, those that are ours already."""

    def forwarded(self, reverse_path: str, through: str, now: float) -> str:
        """The reverse-path of a message that the address `through` forwards.

        The null path and our own domains stay.  When the local-part would be longer than others
        must take, bounces go to `through` itself.
        """
        local_part, domain = split_address(reverse_path)
        if not reverse_path or domain.lower() in self.ours:
            return reverse_path
        by = split_address(through)[1].lower()
        day = int(now // DAY) % _DAYS
        stamp = _ALPHABET[day >> 5] + _ALPHABET[day & 31]
        mark = _mark(self.secret, stamp, domain, local_part, by)
        made = f"SRS0={mark}={stamp}={domain}={local_part}"
        return f"{made}@{by}" if len(made.encode()) <= MAX_LOCAL_PART else through


def looks_like_srs(address: str) -> bool:
    """Whether it is worth while to fetch the secret."""
    return address[:5].upper() == "SRS0="


def origin_of(secret: bytes, address: str, now: float) -> str | None:
    """The address that such an address of ours stands for; None: it is not ours, or too old."""
    local_part, by = split_address(address)
    match = _SRS0.fullmatch(local_part)
    if match is None:
        return None
    mark, stamp, domain, original = match.groups()
    wanted = _mark(secret, stamp.upper(), domain, original, by.lower())
    day = _ALPHABET.index(stamp[0].upper()) << 5 | _ALPHABET.index(stamp[1].upper())
    age = (int(now // DAY) - day) % _DAYS
    # A day of grace, for clocks of replicas differ.
    if not hmac.compare_digest(mark.upper(), wanted) or VALID_DAYS < age < _DAYS - 1:
        return None
    return f"{original}@{domain}"


def _mark(secret: bytes, stamp: str, domain: str, local_part: str, by: str) -> str:
    # Without case: hosts on the way may change it.
    octets = "\0".join((stamp, domain, local_part, by)).lower().encode("utf-8", "replace")
    digest = hmac.new(secret, octets, hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:_HASH_LENGTH]
