"""Passwords: argon2id in a bounded pool, with a short-lived cache of what was right."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from libs.common.accounts import foreign, scram
from libs.protocols.sasl.scram import ITERATIONS, decode_keys

T = TypeVar("T")

# OWASP's second choice: 19 MiB, two passes; 47-78 ms on a small machine.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _hasher.hash("nobody has this password")
_CACHE_SECONDS = 60.0
_CACHE_ENTRIES = 10_000
MAX_WAITING = 64
"""Checks that may wait for the pool; those after them are told to come again."""
MAX_PASSWORD = 1000
"""Characters of a password; a longer one is wrong."""


class VerifierBusy(Exception):
    """Too many passwords are being checked already: come again."""


def hash_password(password: str) -> str:
    """What is stored: an argon2id hash, a space, and the SCRAM keys (RFC 5803 §3).

    Takes tens of milliseconds, so call it off the event loop.
    """
    return f"{_hasher.hash(password)} {scram.encoded_keys(password)}"


def is_current(stored: str) -> bool:
    """Was this made as we make it now?"""
    hashed, _, keys = stored.partition(" ")
    return (
        hashed.startswith("$argon2id$")
        and not _hasher.check_needs_rehash(hashed)
        and keys.count("SCRAM-") == len(ITERATIONS)
    )


def is_known_hash(stored: str) -> bool:
    """Is this a hash that passwords can be compared with: argon2, or one of `foreign`?

    SCRAM keys may follow it.
    """
    stored, _, keys = stored.partition(" ")
    try:
        decode_keys(keys)
    except ValueError:
        return False
    if stored.startswith("$argon2"):
        try:
            _hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return False
        return True
    return foreign.is_known(stored)


def _verify(stored: str, password: str) -> bool:
    if len(password) > MAX_PASSWORD:
        stored = _NOBODY
    stored = stored.partition(" ")[0]
    if not stored.startswith("$argon2"):
        return foreign.matches(stored, password)
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


class PasswordVerifier:
    """Checks passwords without stalling the event loop.

    IMAP clients log in constantly, so a right answer is remembered for a minute, as a keyed
    digest that is useless outside of this process.
    """

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._waiting = 0
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}

    def digest(self, *words: str) -> bytes:
        """A keyed digest, by which secrets are remembered."""
        return hmac.digest(self._key, "\0".join(words).encode(), hashlib.sha256)

    async def verify(self, stored: str, password: str) -> bool:
        """Is this the password?  An empty `stored` (nobody) takes as long as a wrong one.

        Raises `VerifierBusy`.
        """
        digest = self.digest(stored, password)
        if self._right.get(digest, 0.0) > time.monotonic():
            return True
        right = await self.run(lambda: _verify(stored or _NOBODY, password))
        if right and stored:
            if len(self._right) >= _CACHE_ENTRIES:
                self._right.clear()
            self._right[digest] = time.monotonic() + _CACHE_SECONDS
        return right and bool(stored)

    async def run(self, work: Callable[[], T]) -> T:
        """Do something expensive in the pool; raises `VerifierBusy`."""
        if self._waiting >= MAX_WAITING:
            raise VerifierBusy("too many logins at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
