"""Passwords: argon2id in a bounded pool, with a short-lived cache of what was right."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's second choice: 19 MiB, two passes; 47-78 ms on a small machine.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _hasher.hash("nobody has this password")
_CACHE_SECONDS = 60.0
_CACHE_ENTRIES = 10_000


def hash_password(password: str) -> str:
    """The argon2id hash to store; takes tens of milliseconds, so call it off the event loop."""
    return _hasher.hash(password)


def _verify(stored: str, password: str) -> bool:
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
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}

    async def verify(self, stored: str, password: str) -> bool:
        """Is this the password?  An empty `stored` (nobody) takes as long as a wrong one."""
        digest = hmac.digest(self._key, f"{stored}\0{password}".encode(), hashlib.sha256)
        if self._right.get(digest, 0.0) > time.monotonic():
            return True
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._pool, _verify, stored or _NOBODY, password)
        if right and stored:
            if len(self._right) >= _CACHE_ENTRIES:
                self._right.clear()
            self._right[digest] = time.monotonic() + _CACHE_SECONDS
        return right and bool(stored)
