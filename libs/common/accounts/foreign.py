"""Password hashes of other mail systems: taken as they are, and upgraded at the next login.

crypt (DES, MD5, SHA-256, SHA-512), bcrypt, SSHA and PBKDF2, bare or in Dovecot's `{SCHEME}` form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passlib.context import CryptContext

_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_DOVECOT_PBKDF2 = re.compile(r"\$1\$([^$]{1,64})\$(\d{1,7})\$([0-9a-f]{40})")
_SALTED = re.compile(r"\{SSHA(|256|512)\}([A-Za-z0-9+/=]{1,300})")
_ROUNDS = re.compile(r"rounds=(\d+)|\$(?:pbkdf2[^$]*|pbkdf2_[^$]*)\$(\d+)\$|^pbkdf2_[^$]*\$(\d+)\$")
_DOVECOT_NAMES = ("CRYPT", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "DES-CRYPT")
_DIGESTS = {"": "sha1", "256": "sha256", "512": "sha512"}
MAX_BCRYPT_COST = 14
MAX_ROUNDS = 2_000_000
"""A hash that costs more would let whoever imports it stall all logins."""


def is_known(stored: str) -> bool:
    """Can a password be compared with this hash, at a bearable price?"""
    bare = _bare(stored)
    if match := _BCRYPT.fullmatch(bare):
        return int(match[1]) <= MAX_BCRYPT_COST
    if any(int(r or 0) > MAX_ROUNDS for match in _ROUNDS.findall(bare) for r in match):
        return False
    if match := _DOVECOT_PBKDF2.fullmatch(bare):
        return int(match[2]) <= MAX_ROUNDS
    return bool(_SALTED.fullmatch(bare)) or _context().identify(bare) is not None


def matches(stored: str, password: str) -> bool:
    """Is this the password?  False for a hash that is not known, too."""
    bare = _bare(stored)
    if not is_known(stored) or "\0" in password:
        return False
    octets = password.encode()
    if _BCRYPT.fullmatch(bare):
        import bcrypt

        # bcrypt only ever looked at 72 octets, and those who made the hash cut there.
        return bcrypt.checkpw(octets[:72], bare.encode())
    if match := _DOVECOT_PBKDF2.fullmatch(bare):
        ours = hashlib.pbkdf2_hmac("sha1", octets, match[1].encode(), int(match[2]))
        return hmac.compare_digest(ours.hex(), match[3])
    if match := _SALTED.fullmatch(bare):
        return _salted(_DIGESTS[match[1]], match[2], octets)
    return bool(_context().verify(password, bare))


def _bare(stored: str) -> str:
    """Without the scheme that Dovecot writes before what says its kind itself."""
    name, brace, rest = stored.removeprefix("{").partition("}")
    if not brace or not stored.startswith("{"):
        return stored
    if name.upper() in (*_DOVECOT_NAMES, "PBKDF2"):
        return rest
    return "{" + name.upper() + "}" + rest


def _salted(digest: str, encoded: str, password: bytes) -> bool:
    try:
        octets = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return False
    size = hashlib.new(digest).digest_size
    # Without a salt it would be no SSHA.
    if len(octets) <= size:
        return False
    ours = hashlib.new(digest, password + octets[size:]).digest()
    return hmac.compare_digest(ours, octets[:size])


@lru_cache(maxsize=1)
def _context() -> CryptContext:
    # Loaded when the first such hash is met; most systems have none.
    from passlib.context import CryptContext

    return CryptContext(
        schemes=[
            "sha512_crypt",
            "sha256_crypt",
            "md5_crypt",
            "pbkdf2_sha512",
            "pbkdf2_sha256",
            "pbkdf2_sha1",
            "django_pbkdf2_sha256",
            "des_crypt",
        ]
    )
