"""Public keys of signers, from their TXT records (RFC 6376 §3.6.1, RFC 8463)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from libs.common.dns import Resolver
from libs.common.senderauth.tags import BadTags, parse_tags, without_space

MIN_RSA_BITS = 1024
"""RFC 8301 §3.2: a shorter key proves nothing."""
MAX_RSA_BITS = 8192
"""A longer one costs us more than it costs its owner."""
_PADDING, _SHA256 = PKCS1v15(), SHA256()


class BadKey(ValueError):
    """No signature can be checked with it; the text says why."""


class WeakKey(BadKey):
    """It would work, but proves nothing."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key record."""

    key: RSAPublicKey | Ed25519PublicKey
    testing: bool
    """`t=y`: the signer tries things out."""
    exact: bool
    """`t=s`: the domain of `i=` must be that of `d=`."""

    @property
    def algorithm(self) -> str:
        """`rsa` or `ed25519`."""
        return "rsa" if isinstance(self.key, RSAPublicKey) else "ed25519"

    @property
    def bits(self) -> int:
        """The length of an RSA modulus; 256 for ed25519."""
        return self.key.key_size if isinstance(self.key, RSAPublicKey) else 256

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether it made this signature of the data."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, data, _PADDING, _SHA256)
            else:
                # RFC 8463 §3: the digest is what is signed.
                self.key.verify(signature, hashlib.sha256(data).digest())
        except InvalidSignature:
            return False
        return True


async def fetch_key(resolver: Resolver, domain: str, selector: str) -> PublicKey:
    """The key of a selector; `BadKey`, or `DnsUnavailable` when DNS does not say."""
    answer = await resolver.txt(f"{selector}._domainkey.{domain}")
    if not answer.records:
        raise BadKey("there is no key")
    error = BadKey("there is no key")
    # Of several records any may be the one that is meant (RFC 6376 §6.1.2).
    for record in answer.records[:4]:
        try:
            return parse_key(record)
        except BadKey as why:
            error = why
    raise error


async def is_published(resolver: Resolver, name: str, record: str) -> bool:
    """Whether DNS has just this key record at the name; `DnsUnavailable`."""
    wanted = parse_tags(record.encode())["p"]
    for found in (await resolver.txt(name)).records[:4]:
        try:
            if without_space(parse_tags(found).get("p", "")) == wanted:
                return True
        except BadTags:
            continue
    return False


@lru_cache(maxsize=4096)
def parse_key(record: bytes) -> PublicKey:
    """The key in a TXT record; `BadKey`."""
    try:
        tags = parse_tags(record)
    except BadTags as error:
        raise BadKey(f"the key record is wrong: {error}") from None
    _check(tags)
    try:
        raw = base64.b64decode(without_space(tags["p"]), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("the key is not base64") from None
    flags = without_space(tags.get("t", "")).split(":")
    return PublicKey(_load(tags.get("k", "rsa"), raw), "y" in flags, "s" in flags)


def _check(tags: dict[str, str]) -> None:
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise BadKey("the key record is not of DKIM1")
    if "p" not in tags:
        raise BadKey("the key record has no key")
    if not tags["p"]:
        raise BadKey("the key was revoked")
    if "h" in tags and "sha256" not in without_space(tags["h"]).split(":"):
        raise BadKey("the key is not for sha256")
    if not {"*", "email"} & set(without_space(tags.get("s", "*")).split(":")):
        raise BadKey("the key is not for mail")


def _load(kind: str, raw: bytes) -> RSAPublicKey | Ed25519PublicKey:
    if kind == "ed25519":
        if len(raw) != 32:
            raise BadKey("an ed25519 key has 32 octets")
        return Ed25519PublicKey.from_public_bytes(raw)
    if kind != "rsa":
        raise BadKey("the key is of an unknown kind")
    try:
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("the key cannot be read") from None
    if not isinstance(key, RSAPublicKey):
        raise BadKey("the key is not an RSA key")
    if key.key_size < MIN_RSA_BITS:
        raise WeakKey(f"a key of {key.key_size} bits is too short")
    if key.key_size > MAX_RSA_BITS:
        raise WeakKey(f"a key of {key.key_size} bits is too long")
    return key
