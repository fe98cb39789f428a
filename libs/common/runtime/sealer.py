"""Octets that are kept sealed: AES-256-GCM under a key made of the platform's secret.

A sealed value names its key, so that several secrets can open what only the first one seals.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NAME, _NONCE = 4, 12


class SealBroken(Exception):
    """It cannot be opened: another secret sealed it, or it was changed, or is for another use."""


class Sealer:
    """Seals with the first secret, opens with any of them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys: dict[bytes, AESGCM] = {}
        for secret in secrets:
            raw = HKDF(SHA256(), _NAME + 32, None, b"holub sealer 1").derive(secret)
            self._keys.setdefault(raw[:_NAME], AESGCM(raw[_NAME:]))
        self._first = next(iter(self._keys))

    def seal(self, content: bytes, use: str) -> bytes:
        """The sealed form; it opens only for the same use."""
        nonce = os.urandom(_NONCE)
        sealed = self._keys[self._first].encrypt(nonce, content, use.encode())
        return self._first + nonce + sealed

    def open(self, sealed: bytes, use: str) -> bytes:
        """The octets; `SealBroken`."""
        key = self._keys.get(sealed[:_NAME])
        if key is None:
            raise SealBroken(f"{use} was sealed with another secret; add that one to HOLUB_SECRET")
        nonce, content = sealed[_NAME : _NAME + _NONCE], sealed[_NAME + _NONCE :]
        try:
            return key.decrypt(nonce, content, use.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"{use} is damaged, or belongs to something else") from error
