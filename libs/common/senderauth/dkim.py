"""Verifying DKIM signatures (RFC 6376 §6, RFC 8301, RFC 8463).

`l=` is ignored: a signature counts for the whole body or not at all, so nothing can be appended.
rsa-sha1 and short keys prove nothing and are `policy`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from libs.common.dns import DnsUnavailable, Resolver
from libs.common.dns.answer import canonical_name
from libs.common.senderauth.key import BadKey, PublicKey, WeakKey, fetch_key
from libs.common.senderauth.signed import SignedMessage
from libs.common.senderauth.tags import BadTags, parse_tags, without_space
from libs.protocols.message.header import Field

Word = Literal["pass", "fail", "neutral", "policy", "temperror", "permerror", "none"]
MAX_SIGNATURES = 8
"""Signatures of one message that are looked at, from the top."""
_ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
_FORMS = ("simple", "relaxed")


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What one signature is worth."""

    word: Word
    """The result, in the words of RFC 8601 §2.7.1."""
    domain: str = ""
    """`d=`, in lower case and ASCII."""
    selector: str = ""
    identity: str = ""
    """`i=`, or `@` and the domain."""
    algorithm: str = ""
    signature: str = ""
    """The beginning of `b=`, which tells signatures apart (RFC 6008)."""
    reason: str = ""
    """Why it is not `pass`."""
    bits: int = 0
    """The length of the key; 0: none was looked at."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The tags of a DKIM-Signature or ARC-Message-Signature field."""

    domain: str
    selector: str
    identity: str
    algorithm: str
    names: tuple[bytes, ...]
    """`h=`, in lower case."""
    relaxed_header: bool
    relaxed_body: bool
    body_hash: bytes
    signature: bytes
    expires: int | None


class BadSignature(ValueError):
    """A signature that proves nothing; `word` says in which way."""

    def __init__(self, word: Word, reason: str) -> None:
        super().__init__(reason)
        self.word: Word = word


async def verify_dkim(message: SignedMessage, resolver: Resolver, now: float) -> list[DkimResult]:
    """One result for each of the first `MAX_SIGNATURES` signatures; an empty list: none."""
    fields = message.fields(b"dkim-signature")[:MAX_SIGNATURES]
    if not fields:
        return []
    if message.large:
        await asyncio.to_thread(lambda: [message.body_hash(form) for form in _forms(fields)])
    if len(fields) == 1:
        return [await _verify(message, fields[0], resolver, now)]
    return await asyncio.gather(*(_verify(message, one, resolver, now) for one in fields))


def _forms(fields: Sequence[Field]) -> set[bool]:
    """The canonical forms of the body that these signatures may need."""
    return {b"/relaxed" in b"".join(field.value.split()) for field in fields}


async def _verify(
    message: SignedMessage, field: Field, resolver: Resolver, now: float
) -> DkimResult:
    tags: dict[str, str] = {}
    try:
        tags = parse_tags(field.value)
        if tags.get("v") != "1":
            raise BadSignature("permerror", "it is not of version 1")
        signature = read_signature(tags)
        if b"from" not in signature.names:
            raise BadSignature("permerror", "it does not cover From")
        key = await check_signature(message, field, signature, resolver, now)
    except BadTags as error:
        return _result("permerror", tags, str(error))
    except BadSignature as error:
        return _result(error.word, tags, str(error))
    return _result("pass", tags, bits=key.bits)


def _result(word: Word, tags: Mapping[str, str], reason: str = "", bits: int = 0) -> DkimResult:
    domain = canonical_name(tags.get("d", "")) or ""
    return DkimResult(
        word,
        domain,
        tags.get("s", ""),
        tags.get("i", "") or f"@{domain}",
        tags.get("a", ""),
        without_space(tags.get("b", ""))[:8],
        reason,
        bits,
    )


def read_signature(tags: Mapping[str, str]) -> Signature:
    """The signature that tags describe, checked as RFC 6376 §6.1.1 says; `BadSignature`."""
    for name in ("a", "b", "bh", "d", "s"):
        if not tags.get(name):
            raise BadSignature("permerror", f"it has no {name}=")
    if "h" not in tags:
        raise BadSignature("permerror", "it has no h=")
    algorithm = tags["a"]
    if algorithm not in _ALGORITHMS:
        # RFC 8301 §3.1: rsa-sha1 is no longer a signature.
        raise BadSignature("policy", f"{algorithm[:20]} proves nothing")
    if "dns/txt" not in without_space(tags.get("q", "dns/txt")).split(":"):
        raise BadSignature("permerror", "its key is not in DNS")
    names = tuple(name.lower().encode() for name in without_space(tags["h"]).split(":"))
    domain, identity = _identity(tags)
    header, _, body = tags.get("c", "simple/simple").lower().partition("/")
    body = body or "simple"
    if header not in _FORMS or body not in _FORMS:
        raise BadSignature("permerror", "its canonical form is unknown")
    return Signature(
        domain,
        tags["s"],
        identity,
        algorithm,
        names,
        header == "relaxed",
        body == "relaxed",
        base64_of(tags["bh"], "bh"),
        base64_of(tags["b"], "b"),
        _expires(tags),
    )


def _identity(tags: Mapping[str, str]) -> tuple[str, str]:
    """(the domain of `d=`, the domain of `i=`): the latter must be the same or below."""
    domain = canonical_name(tags["d"])
    inner = canonical_name(tags["i"].rpartition("@")[2]) if "i" in tags else domain
    if domain is None or inner is None:
        raise BadSignature("permerror", "its domain is wrong")
    if inner != domain and not inner.endswith(f".{domain}"):
        raise BadSignature("permerror", "i= is not within d=")
    return domain, inner


def _expires(tags: Mapping[str, str]) -> int | None:
    for name in ("t", "x"):
        if name in tags and not (tags[name].isdecimal() and len(tags[name]) <= 12):
            raise BadSignature("permerror", f"{name}= is no time")
    if "x" not in tags:
        return None
    expires = int(tags["x"])
    if "t" in tags and expires <= int(tags["t"]):
        raise BadSignature("permerror", "it ends before it begins")
    return expires


def base64_of(value: str, name: str) -> bytes:
    """The octets of a tag in base64; `BadSignature`."""
    try:
        return base64.b64decode(without_space(value), validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("permerror", f"{name}= is not base64") from None


async def check_signature(
    message: SignedMessage, field: Field, signature: Signature, resolver: Resolver, now: float
) -> PublicKey:
    """The key that made the signature; `BadSignature` when none did."""
    if signature.expires is not None and signature.expires < now:
        raise BadSignature("fail", "it is too old")
    # A wrong body needs no DNS, and nothing else.
    if message.body_hash(signature.relaxed_body) != signature.body_hash:
        raise BadSignature("fail", "the body was changed")
    key = await key_for(signature.domain, signature.selector, signature.algorithm, resolver)
    if key.exact and signature.identity != signature.domain:
        raise BadSignature("permerror", "the key is for d= alone, and i= is below it")
    data = message.signed_fields(signature.names, signature.relaxed_header)
    data += message.canonical_signature(field, signature.relaxed_header)
    if not key.verifies(signature.signature, data):
        # RFC 6376 §3.6.1: who is testing must not be punished for it.
        raise BadSignature("neutral" if key.testing else "fail", "the header was changed")
    return key


async def key_for(domain: str, selector: str, algorithm: str, resolver: Resolver) -> PublicKey:
    """The key for an algorithm; `BadSignature`."""
    try:
        key = await fetch_key(resolver, domain, selector)
    except DnsUnavailable as error:
        raise BadSignature("temperror", str(error)) from None
    except WeakKey as error:
        raise BadSignature("policy", str(error)) from None
    except BadKey as error:
        raise BadSignature("permerror", str(error)) from None
    if key.algorithm != algorithm.partition("-")[0]:
        raise BadSignature("permerror", "the key is for another algorithm")
    return key
