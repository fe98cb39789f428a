"""ARC: what the hosts before us say that they verified (RFC 8617).

A chain is worth as much as its sealers are trusted: whom to trust is the caller's decision.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from libs.common.dns import Resolver
from libs.common.dns.answer import canonical_name
from libs.common.senderauth.dkim import (
    BadSignature,
    base64_of,
    check_signature,
    key_for,
    read_signature,
)
from libs.common.senderauth.sign import (
    OTHERS,
    Signer,
    folded_base64,
    folded_names,
    signed_names,
    signed_value,
)
from libs.common.senderauth.signed import SignedMessage, relaxed_field
from libs.common.senderauth.tags import BadTags, parse_tags
from libs.protocols.message.header import Field

MAX_INSTANCES = 50
"""RFC 8617 §4.2.1."""
SEAL, SIGNATURE, RESULTS = (
    b"arc-seal",
    b"arc-message-signature",
    b"arc-authentication-results",
)
_INSTANCE = re.compile(rb"[ \t\r\n]*+i[ \t\r\n]*+=[ \t\r\n]*+([1-9][0-9]?)[ \t\r\n]*+;")
Word = Literal["none", "pass", "fail", "temperror"]


@dataclass(frozen=True, slots=True)
class ArcResult:
    """What the chain is worth."""

    word: Word
    reason: str = ""
    sealers: tuple[str, ...] = ()
    """The domains of the seals, the oldest first; only of a chain that passes."""
    results: tuple[str, ...] = ()
    """What each of them found: ARC-Authentication-Results without `i=`, the oldest first."""
    instance: int = 0
    """Of the newest set."""


@dataclass(frozen=True, slots=True)
class _Set:
    """The three fields of one instance."""

    seal: Field
    seal_tags: dict[str, str]
    signature: Field
    signature_tags: dict[str, str]
    results: Field


class _Broken(ValueError):
    """The chain fails; the text says why."""


async def verify_arc(message: SignedMessage, resolver: Resolver, now: float) -> ArcResult:
    """The state of the chain (RFC 8617 §5.2)."""
    try:
        sets = _sets(message)
        if not sets:
            return ArcResult("none")
        _check_states(sets)
        await _check_message(message, sets[-1], resolver, now)
        # The newest first: it is the one that fails when something was changed.
        for n in range(len(sets), 0, -1):
            await _check_seal(sets[:n], resolver)
    except BadSignature as error:
        word: Word = "temperror" if error.word == "temperror" else "fail"
        return ArcResult(word, str(error), instance=_newest(message))
    except (_Broken, BadTags) as error:
        return ArcResult("fail", str(error), instance=_newest(message))
    return ArcResult(
        "pass",
        sealers=tuple(canonical_name(one.seal_tags["d"]) or "" for one in sets),
        results=tuple(_after_instance(one.results) for one in sets),
        instance=len(sets),
    )


def _newest(message: SignedMessage) -> int:
    """The highest instance there is, whatever the chain is worth."""
    found = (_INSTANCE.match(field.value) for field in message.fields(RESULTS))
    return max((int(match[1]) for match in found if match), default=0)


def _after_instance(field: Field) -> str:
    match = _INSTANCE.match(field.value)
    rest = field.value[match.end() :] if match else field.value
    return b" ".join(rest.split()).decode("utf-8", "replace")


def _sets(message: SignedMessage) -> list[_Set]:
    seals = _tagged(message.fields(SEAL))
    signatures = _tagged(message.fields(SIGNATURE))
    results: dict[int, Field] = {}
    for field in message.fields(RESULTS)[: MAX_INSTANCES + 1]:
        match = _INSTANCE.match(field.value)
        if match is None or int(match[1]) in results:
            raise _Broken("the instances are wrong")
        results[int(match[1])] = field
    wanted = set(range(1, len(seals) + 1))
    if len(wanted) > MAX_INSTANCES:
        raise _Broken("the chain is too long")
    if not wanted == set(seals) == set(signatures) == set(results):
        raise _Broken("a set is not complete")
    return [_Set(*seals[n], *signatures[n], results[n]) for n in sorted(wanted)]


def _tagged(fields: Sequence[Field]) -> dict[int, tuple[Field, dict[str, str]]]:
    found: dict[int, tuple[Field, dict[str, str]]] = {}
    for field in fields[: MAX_INSTANCES + 1]:
        tags = parse_tags(field.value)
        text = tags.get("i", "")
        if not text.isdecimal() or len(text) > 2 or int(text) < 1 or int(text) in found:
            raise _Broken("the instances are wrong")
        found[int(text)] = (field, tags)
    return found


def _check_states(sets: Sequence[_Set]) -> None:
    """`cv=` is none for the first seal and pass for all others (§5.2 step 3)."""
    for n, one in enumerate(sets):
        if one.seal_tags.get("cv", "").lower() != ("pass" if n else "none"):
            raise _Broken(f"the seal {n + 1} does not vouch for those before it")
        if "h" in one.seal_tags:
            # §4.1.3: a seal covers what it covers.
            raise _Broken(f"the seal {n + 1} has an h=")


async def _check_message(
    message: SignedMessage, newest: _Set, resolver: Resolver, now: float
) -> None:
    # Here `i=` is the instance, and no identity.
    tags = {name: value for name, value in newest.signature_tags.items() if name != "i"}
    signature = read_signature(tags)
    if SEAL in signature.names:
        # §4.1.2: the seal is made after it.
        raise _Broken("the message signature covers a seal")
    try:
        await check_signature(message, newest.signature, signature, resolver, now)
    except BadSignature:
        if "c" in tags:
            raise
        # RFC 8617 §4.1.2 leaves open what a missing `c=` means: some sealers mean relaxed.
        relaxed = replace(signature, relaxed_header=True, relaxed_body=True)
        await check_signature(message, newest.signature, relaxed, resolver, now)


async def _check_seal(sets: Sequence[_Set], resolver: Resolver) -> None:
    tags = sets[-1].seal_tags
    for name in ("a", "b", "d", "s"):
        if not tags.get(name):
            raise _Broken(f"the seal {len(sets)} has no {name}=")
    if tags["a"] not in ("rsa-sha256", "ed25519-sha256"):
        raise _Broken(f"the seal {len(sets)} is of an unknown algorithm")
    domain = canonical_name(tags["d"])
    if domain is None:
        raise _Broken(f"the domain of the seal {len(sets)} is wrong")
    key = await key_for(domain, tags["s"], tags["a"], resolver)
    if not key.verifies(base64_of(tags["b"], "b"), _sealed(sets)):
        raise _Broken(f"the seal {len(sets)} was not made for this message")


def _sealed(sets: Sequence[_Set]) -> bytes:
    """What a seal covers: all sets up to it, itself without `b=` (§5.1.1)."""
    last = sets[-1].seal
    emptied = re.sub(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+", rb"\1", last.value, count=1)
    return b"".join(
        relaxed_field(RESULTS, one.results.value)
        + relaxed_field(SIGNATURE, one.signature.value)
        + (relaxed_field(SEAL, one.seal.value) if one.seal is not last else b"")
        for one in sets
    ) + relaxed_field(SEAL, emptied).removesuffix(b"\r\n")


def seal(
    content: bytes,
    signer: Signer,
    results: str,
    chain: ArcResult,
    now: int,
    names: Sequence[bytes] = (),
) -> bytes:
    """The three fields to put before the content; nothing where no seal may be added.

    `results` is what Authentication-Results says: authserv-id and all; `chain` is what `verify_arc`
    found in this content.  The content is what goes out, with CRLF line ends.  A chain that could
    not be checked, or that is full, gets none (§5.1).
    """
    message = SignedMessage(content)
    n = chain.instance + 1
    if chain.word == "temperror" or n > MAX_INSTANCES or _has_failed(message):
        return b""
    names = list(names) or _sealed_names(message)
    found = f" i={n}; {results}".encode()
    value = (
        f" i={n}; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};\r\n"
        f" s={signer.selector}; t={now};\r\n h={folded_names(names)};\r\n bh="
    ).encode()
    value += folded_base64(message.body_hash(True)) + b";\r\n b="
    signature = signed_value(message, signer, SIGNATURE, value, names)
    state = chain.word
    head = (
        f" i={n}; a={signer.algorithm}; cv={state}; d={signer.domain};\r\n"
        f" s={signer.selector}; t={now};\r\n b="
    ).encode()
    # §5.1.2: a failed chain is not repeated, the last seal stands for itself.
    before = _earlier(message) if state == "pass" else b""
    data = before + relaxed_field(RESULTS, found) + relaxed_field(SIGNATURE, signature)
    made = head + folded_base64(signer.signature(data + relaxed_field(SEAL, head)[:-2]))
    return (
        b"ARC-Seal:" + made + b"\r\nARC-Message-Signature:" + signature
        + b"ARC-Authentication-Results:" + found + b"\r\n"
    )  # fmt: skip


def _sealed_names(message: SignedMessage) -> list[bytes]:
    more = [b"dkim-signature" for _ in message.fields(b"dkim-signature")]
    return signed_names(message) + [name for name in more if name not in OTHERS]


def _has_failed(message: SignedMessage) -> bool:
    """Nobody adds to a chain whose newest seal says that it failed (§5.1)."""
    newest = message.fields(SEAL)[:1]
    try:
        return any(parse_tags(one.value).get("cv", "").lower() == "fail" for one in newest)
    except BadTags:
        return False


def _earlier(message: SignedMessage) -> bytes:
    return b"".join(
        relaxed_field(RESULTS, one.results.value)
        + relaxed_field(SIGNATURE, one.signature.value)
        + relaxed_field(SEAL, one.seal.value)
        for one in _sets(message)
    )
