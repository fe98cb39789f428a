"""The real resolver: c-ares through aiodns, with a cache that keeps to the TTLs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import aiodns
import pycares

from libs.common.dns.answer import Answer, DnsUnavailable, Mx, canonical_name, reverse_name

T = TypeVar("T")

MIN_TTL, MAX_TTL = 5.0, 3600.0
"""Bounds of the time that an answer is kept."""
NEGATIVE_TTL = 60.0
"""How long it is kept that there is nothing (RFC 2308 §5 allows up to three hours)."""
MOST = 20_000
"""Answers kept."""
SILENT = 5
"""After so many questions in a row that no server answered, all of them fail at once ..."""
REST_SECONDS = 5.0
"""... for this time: mail that could wait for DNS must not pile up behind it."""

_NO_NAME = {pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_EBADNAME}
_NO_RECORDS = {pycares.errno.ARES_ENODATA}
_SILENCE = {pycares.errno.ARES_ETIMEOUT, pycares.errno.ARES_ECONNREFUSED}
_TYPES = {
    "TXT": pycares.QUERY_TYPE_TXT,
    "MX": pycares.QUERY_TYPE_MX,
    "A": pycares.QUERY_TYPE_A,
    "AAAA": pycares.QUERY_TYPE_AAAA,
    "PTR": pycares.QUERY_TYPE_PTR,
}


class AiodnsResolver:
    """One per process; its questions about the same thing at the same time are one question."""

    def __init__(self, servers: Sequence[str], *, timeout: float = 2.0, tries: int = 2) -> None:
        self._servers = list(servers)
        self._timeout = timeout
        self._tries = tries
        self._channel: aiodns.DNSResolver | None = None
        self._kept: OrderedDict[tuple[str, str], tuple[float, Answer[Any]]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}
        self._silent = 0
        self._rest_until = 0.0

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await self._ask(name, "TXT", lambda data: data.data)

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, by ascending preference."""
        answer = await self._ask(
            name, "MX", lambda data: Mx(data.priority, data.exchange.rstrip(".").lower())
        )
        ordered = tuple(sorted(answer.records, key=lambda mx: mx.preference))
        return Answer(ordered, answer.exists, answer.ttl)

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        return await self._ask(name, "A", lambda data: data.addr)

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        return await self._ask(name, "AAAA", lambda data: data.addr)

    async def ptr(self, address: str) -> Answer[str]:
        """The names of an IP address."""
        return await self._ask(
            reverse_name(address), "PTR", lambda data: data.dname.rstrip(".").lower()
        )

    async def close(self) -> None:
        """Give up questions under way."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    async def _ask(self, name: str, kind: str, value: Callable[[Any], T]) -> Answer[T]:
        known = canonical_name(name)
        if known is None:
            return Answer((), False, MAX_TTL)
        key = (known, kind)
        until, answer = self._kept.get(key, (0.0, None))
        if answer is not None and until > time.monotonic():
            return answer
        task = self._asking.get(key)
        if task is None:
            if self._rest_until > time.monotonic():
                raise DnsUnavailable(f"{kind} {known}: no server answered a moment ago")
            task = self._asking[key] = asyncio.create_task(self._question(known, kind, value))
            task.add_done_callback(lambda done: self._answered(key, done))
        # Shielded: one who asks and is cancelled must not take the answer from the others.
        return await asyncio.shield(task)

    def _answered(self, key: tuple[str, str], task: asyncio.Task[Answer[Any]]) -> None:
        del self._asking[key]
        if task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        self._kept[key] = (time.monotonic() + answer.ttl, answer)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    async def _question(self, name: str, kind: str, value: Callable[[Any], T]) -> Answer[T]:
        if self._channel is None:
            self._channel = aiodns.DNSResolver(
                self._servers or None, timeout=self._timeout, tries=self._tries
            )
        try:
            result = await self._channel.query_dns(name, kind)
        except aiodns.error.DNSError as error:
            self._note(error)
            return _without(error, name, kind)
        self._silent = 0
        # A chain of CNAME records stands before what was asked for.
        found = [record for record in result.answer if record.type == _TYPES[kind]]
        if not found:
            return Answer((), True, NEGATIVE_TTL)
        ttl = min(record.ttl for record in result.answer)
        return Answer(
            tuple(value(record.data) for record in found), True, max(MIN_TTL, min(ttl, MAX_TTL))
        )

    def _note(self, error: aiodns.error.DNSError) -> None:
        """Count questions that nobody answered; a SERVFAIL comes from a server that is well."""
        self._silent = self._silent + 1 if error.args and error.args[0] in _SILENCE else 0
        if self._silent >= SILENT:
            self._rest_until = time.monotonic() + REST_SECONDS
            # One question after the rest decides whether there is another one.
            self._silent = SILENT - 1


def _without(error: aiodns.error.DNSError, name: str, kind: str) -> Answer[Any]:
    code = error.args[0] if error.args else None
    if code in _NO_NAME:
        return Answer((), False, NEGATIVE_TTL)
    if code in _NO_RECORDS:
        return Answer((), True, NEGATIVE_TTL)
    raise DnsUnavailable(f"{kind} {name}: {error.args[-1] if error.args else error}") from error
