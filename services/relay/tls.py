"""TLS contexts, and what is checked after a handshake (RFC 7672, RFC 6698)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from services.relay.tls_policy import Level, Tlsa, TlsPolicy

DANE_TA, DANE_EE = 2, 3


class Untrusted(Exception):
    """The certificate is not the one that the policy asks for."""


class TlsContexts:
    """The contexts of one process: making one reads all authorities from disk."""

    def __init__(self, authorities: str = "") -> None:
        # RFC 7435: nobody's name is checked where plain text is the rival; DANE checks by itself.
        self._open = ssl.create_default_context()
        self._open.check_hostname = False
        self._open.verify_mode = ssl.CERT_NONE
        self._verifying = ssl.create_default_context()
        if authorities:
            self._verifying.load_verify_locations(authorities)

    def of(self, policy: TlsPolicy) -> ssl.SSLContext:
        """The context for a handshake under this policy."""
        return self._verifying if policy.level is Level.VERIFY else self._open


def check_dane(tls: Any, host: str, records: Sequence[Tlsa]) -> None:
    """`Untrusted` unless one of the records names the certificate or an authority of its chain."""
    # Not public before Python 3.13; DANE-TA cannot do without the whole chain.
    chain = [c.public_bytes(ssl._ssl.ENCODING_DER) for c in tls._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]
    if not any(_satisfies(chain, host, record) for record in records):
        raise Untrusted(f"no TLSA record of {host} fits its certificate (DANE, RFC 7672)")


def _satisfies(chain: Sequence[bytes], host: str, record: Tlsa) -> bool:
    if record.usage == DANE_EE:
        # RFC 7672 §3.1.1: neither names nor dates count, the record is all.
        return matches(chain[0], record)
    return any(matches(der, record) and _leads_to(chain, der, host) for der in chain[1:])


def matches(der: bytes, record: Tlsa) -> bool:
    """Whether a record stands for this certificate (RFC 6698 §2.1)."""
    data = der
    if record.selector == 1:
        key = x509.load_der_x509_certificate(der).public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching == 1:
        data = hashlib.sha256(data).digest()
    elif record.matching == 2:
        data = hashlib.sha512(data).digest()
    return data == record.data


def _is_authority(policy: Policy, cert: x509.Certificate, basic: x509.BasicConstraints) -> None:
    if not basic.ca:
        raise ValueError("not the certificate of an authority")


# Names, dates, signatures and who may sign are checked; the other rules that browsers have for
# public authorities are not, because with DANE people run authorities of their own.
_PROFILE = PolicyBuilder().extension_policies(
    ca_policy=ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority
    ),
    ee_policy=ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
    ),
)


def _leads_to(chain: Sequence[bytes], anchor: bytes, host: str) -> bool:
    """RFC 7672 §3.1.2: a valid chain from the anchor to a certificate of this name."""
    try:
        leaf, *others = (x509.load_der_x509_certificate(der) for der in chain)
        store = Store([x509.load_der_x509_certificate(anchor)])
        builder = _PROFILE.store(store)
        builder.build_server_verifier(x509.DNSName(host)).verify(leaf, others)
    except (VerificationError, ValueError):
        return False
    return True
