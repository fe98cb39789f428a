"""SPF: may this host send for this domain? (RFC 7208)

All limits of §4.6.4 are kept: 10 terms that ask DNS, 2 of those without an answer, 10 addresses
of an `mx` and of a `ptr`; and a time for all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Literal, TypeVar

from libs.common.dns import Answer, DnsUnavailable, Resolver
from libs.common.dns.answer import canonical_name
from libs.common.senderauth.spf_macro import check_macros, expand, shortened
from libs.common.senderauth.spf_record import BadRecord, Mechanism, Record, is_spf, parse_record

T = TypeVar("T")
Word = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
MAX_LOOKUPS = 10
MAX_VOID = 2
MAX_NAMES = 10
"""MX hosts or PTR names of one mechanism that are looked at."""
SECONDS = 20.0
"""§4.6.4: the least time that a check must be given."""
_QUIET = ("temperror", "permerror")


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What a domain says of a client."""

    word: Word
    """In the words of RFC 7208 §2.6."""
    domain: str = ""
    """The domain that was asked."""
    identity: Literal["mailfrom", "helo"] = "mailfrom"
    mechanism: str = ""
    """What matched."""
    reason: str = ""
    """Why it is an error."""
    explanation: str = ""
    """What the domain's owner says to a fail: written by a stranger (§6.2)."""


class _Permanent(Exception):
    """Permerror, wherever in the records it is found."""


@dataclass(slots=True)
class _Client:
    """What stays the same in one check."""

    resolver: Resolver
    ip: IPv4Address | IPv6Address
    sender: str
    helo: str
    receiver: str
    lookups: int = 0
    voids: int = 0
    name: str | None = None
    """The validated name of the client, once somebody asked for it."""

    def count(self) -> None:
        """One more term that asks DNS."""
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _Permanent(f"more than {MAX_LOOKUPS} terms ask DNS")

    async def ask(self, question: Awaitable[Answer[T]]) -> tuple[T, ...]:
        """The records; that there are none is allowed twice."""
        answer = await question
        if not answer.records:
            self.voids += 1
            if self.voids > MAX_VOID:
                raise _Permanent(f"more than {MAX_VOID} names do not exist")
        return answer.records

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, of the client's kind."""
        return (await self._addresses(name)).records

    async def asked_addresses(self, name: str) -> tuple[str, ...]:
        """The same, counted when there are none."""
        return await self.ask(self._addresses(name))

    def _addresses(self, name: str) -> Awaitable[Answer[str]]:
        return self.resolver.a(name) if self.ip.version == 4 else self.resolver.aaaa(name)


async def check_spf(
    resolver: Resolver,
    ip: str,
    helo: str,
    mail_from: str,
    *,
    receiver: str = "unknown",
    seconds: float = SECONDS,
) -> SpfResult:
    """The result for the reverse-path, or for HELO when that is null (§2.4).

    `ValueError` when `ip` is no address.
    """
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    identity: Literal["mailfrom", "helo"] = "mailfrom" if mail_from else "helo"
    local_part, _, domain = mail_from.rpartition("@") if mail_from else ("", "", helo)
    sender = f"{local_part or 'postmaster'}@{domain}"
    client = _Client(resolver, address, sender, helo, receiver)
    try:
        async with asyncio.timeout(seconds):
            word, match, text = await _check(client, domain, top=True)
    except TimeoutError:
        return SpfResult("temperror", domain, identity, reason="it took too long")
    except DnsUnavailable as error:
        return SpfResult("temperror", domain, identity, reason=str(error))
    except (_Permanent, BadRecord) as error:
        return SpfResult("permerror", domain, identity, reason=str(error))
    return SpfResult(word, domain, identity, match, explanation=text)


async def _check(client: _Client, domain: str, *, top: bool) -> tuple[Word, str, str]:
    """check_host() (§4): (result, mechanism, explanation)."""
    name = canonical_name(domain)
    # §4.3: a domain that cannot be asked, or of one label, has no policy.
    if name is None or "." not in name or domain.startswith("["):
        return "none", "", ""
    records = [one for one in (await client.resolver.txt(name)).records if is_spf(one)]
    if not records:
        return "none", "", ""
    if len(records) > 1:
        raise _Permanent(f"{name} has several records")
    record = parse_record(records[0])
    for mechanism in record.mechanisms:
        if await _matches(client, mechanism, domain):
            word: Any = mechanism.result
            wanted = top and word == "fail" and record.explanation
            text = await _explain(client, record.explanation, domain) if wanted else ""
            return word, mechanism.text, text
    if record.redirect:
        return await _redirect(client, record, domain, top)
    return "neutral", "", ""


async def _redirect(
    client: _Client, record: Record, domain: str, top: bool
) -> tuple[Word, str, str]:
    client.count()
    target = await _target(client, record.redirect, domain)
    found = await _check(client, target, top=top)
    if found[0] == "none":
        raise _Permanent(f"{target} has no record")
    return found


async def _matches(client: _Client, mechanism: Mechanism, domain: str) -> bool:
    match mechanism.name:
        case "all":
            return True
        case "ip4" | "ip6":
            # Of another version nothing is within.
            return client.ip in mechanism.network if mechanism.network else False
        case "include":
            return await _include(client, mechanism, domain)
    client.count()
    target = await _target(client, mechanism.domain, domain)
    match mechanism.name:
        case "a":
            return _within(client, mechanism, await client.asked_addresses(target))
        case "mx":
            return await _mx(client, mechanism, target)
        case "exists":
            # §5.7: IPv4 addresses, whatever the client's are.
            return bool(await client.ask(client.resolver.a(target)))
        case _:
            return await _ptr(client, target)


async def _include(client: _Client, mechanism: Mechanism, domain: str) -> bool:
    client.count()
    target = await _target(client, mechanism.domain, domain)
    word, _, _ = await _check(client, target, top=False)
    if word == "none":
        raise _Permanent(f"{target} has no record")
    return word == "pass"


async def _mx(client: _Client, mechanism: Mechanism, target: str) -> bool:
    hosts = await client.ask(client.resolver.mx(target))
    if len(hosts) > MAX_NAMES:
        raise _Permanent(f"{target} has more than {MAX_NAMES} mail exchangers")
    for host in hosts:
        if host.host and _within(client, mechanism, await client.asked_addresses(host.host)):
            return True
    return False


async def _ptr(client: _Client, target: str) -> bool:
    target = target.lower().rstrip(".")
    return any(name == target or name.endswith(f".{target}") for name in await _validated(client))


async def _validated(client: _Client) -> list[str]:
    """The client's names that have its address (§5.5); an error is no name."""
    try:
        names = (await client.ask(client.resolver.ptr(str(client.ip))))[:MAX_NAMES]
    except DnsUnavailable:
        return []
    found = []
    for name in names:
        try:
            addresses = await client.addresses(name)
        except DnsUnavailable:
            continue
        if any(ip_address(one) == client.ip for one in addresses):
            found.append(name.lower().rstrip("."))
    return found


def _within(client: _Client, mechanism: Mechanism, addresses: tuple[str, ...]) -> bool:
    length = mechanism.cidr4 if client.ip.version == 4 else mechanism.cidr6
    return any(client.ip in ip_network(f"{one}/{length}", strict=False) for one in addresses)


async def _target(client: _Client, spec: str, domain: str) -> str:
    if not spec:
        return domain
    return shortened(await _expand(client, spec, domain)) if "%" in spec else spec


async def _expand(client: _Client, text: str, domain: str) -> str:
    values = _values(client, domain)
    if "%{p" in text.lower():
        if client.name is None:
            client.name = await _best_name(client, domain)
        values["p"] = client.name
    return expand(text, values)


async def _best_name(client: _Client, domain: str) -> str:
    """`%{p}`: the domain itself, a name below it, any name, or `unknown` (§7.3)."""
    domain = domain.lower().rstrip(".")
    names = await _validated(client)
    below = [name for name in names if name.endswith(f".{domain}")]
    return next(iter([n for n in names if n == domain] + below + names), "unknown")


def _values(client: _Client, domain: str) -> dict[str, str]:
    local_part, _, sender_domain = client.sender.rpartition("@")
    six = client.ip.version == 6
    dotted = ".".join(client.ip.exploded.replace(":", "")) if six else str(client.ip)
    return {
        "s": client.sender,
        "l": local_part,
        "o": sender_domain,
        "d": domain,
        "i": dotted,
        "h": client.helo,
        "v": "ip6" if six else "in-addr",
        "c": str(client.ip),
        "r": client.receiver,
        "t": str(int(time.time())),
    }


async def _explain(client: _Client, spec: str, domain: str) -> str:
    """The domain's explanation of a fail, or nothing, whatever goes wrong (§6.2)."""
    try:
        target = await _target(client, spec, domain)
        records = (await client.resolver.txt(target)).records
        if len(records) != 1:
            return ""
        text = records[0].decode("ascii")
        check_macros(text, explanation=True)
        return await _expand(client, text, domain)
    except (DnsUnavailable, ValueError, _Permanent):
        return ""
