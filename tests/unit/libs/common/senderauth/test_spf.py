"""SPF against the test suite of RFC 7208."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from libs.common.dns import Answer, DnsUnavailable, Mx, reverse_name
from libs.common.dns.answer import canonical_name
from libs.common.senderauth.spf import check_spf


class ZoneResolver:
    """Answers from the `zonedata` of the suite, in which a type may time out by itself."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        self._zone = {name.lower().rstrip("."): _records(data) for name, data in zone.items()}

    def _answer(self, name: str, kind: str, seen: int = 0) -> Answer[Any]:
        name = canonical_name(name) or ""
        records = self._zone.get(name)
        if records is None:
            return Answer((), False, 60)
        if (alias := records.get("CNAME")) and kind != "CNAME" and seen < 10:
            return self._answer(alias[0], kind, seen + 1)
        if "TIMEOUT" in records.get(kind, ()) or ("TIMEOUT" in records and kind not in records):
            raise DnsUnavailable(f"{kind} {name}: timeout")
        return Answer(tuple(records.get(kind, ())), True, 60)

    async def txt(self, name: str) -> Answer[bytes]:
        answer = self._answer(name, "TXT")
        return Answer(tuple(_octets(one) for one in answer.records), answer.exists, 60)

    async def mx(self, name: str) -> Answer[Mx]:
        answer = self._answer(name, "MX")
        return Answer(tuple(Mx(p, h.rstrip(".")) for p, h in answer.records), answer.exists, 60)

    async def a(self, name: str) -> Answer[str]:
        return self._answer(name, "A")

    async def aaaa(self, name: str) -> Answer[str]:
        return self._answer(name, "AAAA")

    async def ptr(self, address: str) -> Answer[str]:
        return self._answer(reverse_name(address), "PTR")

    async def close(self) -> None: ...


def _octets(value: Any) -> bytes:
    text = "".join(value) if isinstance(value, list) else value
    return str(text).encode("utf-8", "surrogateescape")


def _records(data: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in data:
        if item == "TIMEOUT":
            found["TIMEOUT"] = []
            continue
        for kind, value in item.items():
            found.setdefault(kind, []).append(value)
    # The suite was written when there was a type SPF: without TXT, its records are meant as TXT.
    if "SPF" in found and "TXT" not in found:
        found["TXT"] = found["SPF"]
    found["TXT"] = [one for one in found.get("TXT", []) if one != "NONE"]
    if not found["TXT"]:
        del found["TXT"]
    return found


def test_every_verdict_of_the_suite_is_right(vectors: Path) -> None:
    text = (vectors / "spf-rfc7208-tests.yml").read_text()
    right, wrong, explained, other = 0, [], 0, []
    for scenario in yaml.safe_load_all(text):
        resolver = ZoneResolver(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            result = asyncio.run(
                check_spf(resolver, test["host"], test["helo"], test["mailfrom"] or "")
            )
            wanted = test["result"]
            if result.word in ([wanted] if isinstance(wanted, str) else wanted):
                right += 1
            else:
                wrong.append((name, result, wanted))
            if "explanation" in test and test["explanation"] != "DEFAULT":
                # In which case IPv6 digits are written is left open.
                if result.explanation.lower() == test["explanation"].lower():
                    explained += 1
                else:
                    other.append((name, result.explanation, test["explanation"]))
    print(
        f"\nRFC 7208 suite: {right} of {right + len(wrong)} verdicts, "
        f"{explained} of {explained + len(other)} explanations"
    )
    assert wrong == []
    assert other == []
    assert right > 190


def test_a_check_that_takes_too_long_is_a_temporary_error() -> None:
    class Slow(ZoneResolver):
        async def txt(self, name: str) -> Answer[bytes]:
            await asyncio.sleep(60)
            return await super().txt(name)

    result = asyncio.run(check_spf(Slow({}), "192.0.2.1", "mx", "a@example.org", seconds=0.01))

    assert (result.word, result.reason) == ("temperror", "it took too long")


def test_the_null_reverse_path_is_checked_by_helo() -> None:
    zone = {"mx.example.org": [{"TXT": "v=spf1 ip4:192.0.2.1 -all"}]}

    result = asyncio.run(check_spf(ZoneResolver(zone), "192.0.2.1", "mx.example.org", ""))

    assert (result.word, result.identity, result.mechanism) == ("pass", "helo", "ip4:192.0.2.1/32")
