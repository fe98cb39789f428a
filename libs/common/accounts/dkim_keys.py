"""DKIM keys of domains: made, sealed, and led through their lives.

A key is *new* until DNS shows it, then *signing*; the next one of its algorithm makes it
*retiring*: it signs no more, but must stay in DNS while mail that it signed is under way; then it
is *retired*, and its private half is gone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import update

from libs.common.db import Transaction
from libs.common.db.schema import dkim_key
from libs.common.runtime.sealer import Sealer
from libs.common.senderauth import Signer

RSA, ED25519 = "rsa-sha256", "ed25519-sha256"
ALGORITHMS = (RSA, ED25519)
RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is in no database yet."""

    selector: str
    algorithm: str
    record: str
    private: bytes = field(repr=False)
    """PKCS #8, DER."""


def selector_for(algorithm: str, now: float) -> str:
    """A name that tells when the key was made, and of what kind it is."""
    made = time.strftime("%Y%m%d%H%M%S", time.gmtime(now))
    return f"h{made}{'r' if algorithm == RSA else 'e'}"


def make_key(domain: str, algorithm: str, selector: str) -> NewKey:
    """A key by chance; RSA takes a tenth of a second, so call it in a thread."""
    private: Any = Ed25519PrivateKey.generate()
    if algorithm == RSA:
        private = generate_private_key(65537, RSA_BITS)
    return _new_key(Signer(domain, selector, private))


def read_key(domain: str, pem: bytes, selector: str) -> NewKey:
    """A key that somebody brings along, as PEM; `ValueError` says what is wrong with it."""
    return _new_key(Signer.load(domain, selector, pem))


def _new_key(signer: Signer) -> NewKey:
    private = signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return NewKey(signer.selector, signer.algorithm, signer.record, private)


def use_of(domain: str, selector: str) -> str:
    """What a sealed private key is for."""
    return f"the DKIM key {selector} of {domain}"


async def add_keys(
    transaction: Transaction, domain_id: int, domain: str, keys: Sequence[NewKey], sealer: Sealer
) -> int:
    """Insert new keys; how many there were not yet."""
    now = time.time()
    rows = [
        {
            "domain_id": domain_id,
            "selector": key.selector,
            "algorithm": key.algorithm,
            "private_key": sealer.seal(key.private, use_of(domain, key.selector)),
            "record": key.record,
            "created_at": now,
            "changed_at": now,
        }
        for key in keys
    ]
    return len(await transaction.insert_new(dkim_key, rows, ("domain_id", "selector")))


async def start_signing(transaction: Transaction, row: Mapping[str, Any]) -> None:
    """Sign with this key from now on, and no more with the ones of its algorithm before it."""
    now = time.time()
    others = (
        update(dkim_key)
        .where(dkim_key.c.domain_id == row["domain_id"])
        .where(dkim_key.c.algorithm == row["algorithm"])
        .where(dkim_key.c.state == "signing", dkim_key.c.id != row["id"])
    )
    await transaction.execute(others.values(state="retiring", changed_at=now))
    mine = update(dkim_key).where(dkim_key.c.id == row["id"], dkim_key.c.state == "new")
    await transaction.execute(mine.values(state="signing", changed_at=now))


async def retire(transaction: Transaction, before: float) -> int:
    """Keys that retired so long ago are of no use to anybody: destroy their private halves."""
    old = update(dkim_key).where(dkim_key.c.state == "retiring", dkim_key.c.changed_at < before)
    values = {"state": "retired", "changed_at": time.time(), "private_key": b""}
    return await transaction.execute(old.values(**values))
