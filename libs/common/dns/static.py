"""A resolver that knows only what it was told: for tests, and for networks without DNS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.common.dns.answer import Answer, DnsUnavailable, Mx, canonical_name, reverse_name


class StaticResolver:
    """Answers from a table: `{("example.test", "TXT"): [b"v=spf1 -all"]}`.

    Types are TXT (bytes), MX (`Mx`), A, AAAA and PTR (str).  A name exists when any type of it
    is there.  Names in `failing` have no answer at all.
    """

    def __init__(
        self, records: Mapping[tuple[str, str], Sequence[Any]], failing: Sequence[str] = ()
    ) -> None:
        self._records = {(name.lower().rstrip("."), kind): v for (name, kind), v in records.items()}
        self._names = {name for name, _ in self._records}
        self._failing = {name.lower().rstrip(".") for name in failing}

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records."""
        return self._answer(name, "TXT")

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, by ascending preference."""
        answer: Answer[Mx] = self._answer(name, "MX")
        ordered = tuple(sorted(answer.records, key=lambda mx: mx.preference))
        return Answer(ordered, answer.exists, answer.ttl)

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        return self._answer(name, "A")

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        return self._answer(name, "AAAA")

    async def ptr(self, address: str) -> Answer[str]:
        """The names of an IP address."""
        return self._answer(reverse_name(address), "PTR")

    async def close(self) -> None:
        """Nothing is under way."""

    def _answer(self, name: str, kind: str) -> Answer[Any]:
        known = canonical_name(name)
        if known in self._failing:
            raise DnsUnavailable(f"{kind} {name}: SERVFAIL")
        return Answer(tuple(self._records.get((known or "", kind), ())), known in self._names, 60.0)
