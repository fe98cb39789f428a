"""Signing with DKIM (RFC 6376 §5, RFC 8463)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from libs.common.dns.answer import canonical_name
from libs.common.senderauth.signed import SignedMessage, relaxed_field

OVERSIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"reply-to",
    b"message-id",
    b"mime-version",
    b"content-type",
)
"""Named once more than they are there, so that nobody can add another one (RFC 6376 §8.15)."""
OTHERS = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"content-transfer-encoding",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"auto-submitted",
)
"""Signed where they are there (RFC 6376 §5.4.1, RFC 8058 §4)."""
LINE = 72
"""Octets of one line of base64."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with the name under which its public half is found."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @classmethod
    def load(cls, domain: str, selector: str, pem: bytes) -> Signer:
        """From a PEM file, RSA (1,024 bits or more) or ed25519; `ValueError` says what is wrong.

        Keep it: reading a key costs more than signing with it.
        """
        return cls.checked(domain, selector, load_pem_private_key(pem, None))

    @classmethod
    def load_der(cls, domain: str, selector: str, der: bytes) -> Signer:
        """The same from PKCS #8 in DER."""
        return cls.checked(domain, selector, load_der_private_key(der, None))

    @classmethod
    def checked(cls, domain: str, selector: str, key: PrivateKeyTypes) -> Signer:
        """The same from a key; `ValueError` when it is none for DKIM."""
        if isinstance(key, RSAPrivateKey):
            if key.key_size < 1024:
                raise ValueError(f"an RSA key of {key.key_size} bits signs nothing: make 2048")
        elif not isinstance(key, Ed25519PrivateKey):
            raise ValueError("DKIM keys are RSA or ed25519")
        name = canonical_name(domain)
        if name is None or canonical_name(f"{selector}._domainkey.{name}") is None:
            raise ValueError(f"not a domain and selector: {domain!r}, {selector!r}")
        return cls(name, selector, key)

    @property
    def algorithm(self) -> str:
        """`a=`."""
        return "rsa-sha256" if isinstance(self.key, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record(self) -> str:
        """The TXT record at `SELECTOR._domainkey.DOMAIN`."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={base64.b64encode(raw).decode()}"
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"

    def signature(self, data: bytes) -> bytes:
        """The signature of these octets."""
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(data).digest())


def dkim_fields(
    content: bytes, signers: Sequence[Signer], now: int, body_hash: bytes | None = None
) -> bytes:
    """One DKIM-Signature field for each signer, to be put before the content.

    The content is exactly what goes out, prefix and all, with CRLF line ends; with a `body_hash`
    (`BodyHash`) it is the header section alone.  RSA takes a millisecond in which other threads
    can run.  `ValueError` for a message without From.
    """
    message = SignedMessage(content, body_hash=body_hash)
    if not message.fields(b"from"):
        raise ValueError("a message without From cannot be signed (RFC 6376 §5.4)")
    names = signed_names(message)
    return b"".join(_dkim_field(message, signer, names, now) for signer in signers)


def signed_names(message: SignedMessage) -> list[bytes]:
    """What `h=` lists for this message."""
    names = [name for name in OVERSIGNED for _ in range(len(message.fields(name)) + 1)]
    return names + [name for name in OTHERS for _ in message.fields(name)]


def _dkim_field(message: SignedMessage, signer: Signer, names: Sequence[bytes], now: int) -> bytes:
    value = (
        f" v=1; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};\r\n"
        f" s={signer.selector}; t={now};\r\n h={folded_names(names)};\r\n"
        f" bh={base64.b64encode(message.body_hash(True)).decode()};\r\n b="
    ).encode()
    return b"DKIM-Signature:" + signed_value(message, signer, b"dkim-signature", value, names)


def signed_value(
    message: SignedMessage, signer: Signer, field: bytes, value: bytes, names: Sequence[bytes]
) -> bytes:
    """A field's value that ends in an empty `b=`, with the signature in it, and CRLF."""
    data = message.signed_fields(names, True) + relaxed_field(field, value)[:-2]
    return value + folded_base64(signer.signature(data)) + b"\r\n"


def folded_names(names: Sequence[bytes]) -> str:
    """`h=` on lines of 72 octets at most."""
    lines = [""]
    for name in names:
        word = name.decode()
        if len(lines[-1]) + len(word) > LINE:
            lines.append("")
        lines[-1] += f"{word}:"
    return "\r\n ".join(lines)[:-1]


def folded_base64(raw: bytes) -> bytes:
    """Base64 on lines of 72 octets."""
    text = base64.b64encode(raw)
    return b"\r\n ".join(text[at : at + LINE] for at in range(0, len(text), LINE))
