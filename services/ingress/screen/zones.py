"""dnsbl: block and allow lists in DNS (RFC 5782), each hard or with a weight."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address

from libs.common.dns import DnsUnavailable, Resolver, reverse_name
from libs.common.runtime.log import get_logger
from services.ingress.screen.rule import Finding, against

log = get_logger(__name__)
RULE = "dnsbl"
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)+[A-Za-z0-9-]{1,63}")
_ENTRY = re.compile(r"(?P<name>[^=*\s]+)(?:=(?P<answers>[^*]+))?(?:\*(?P<weight>-?\d+))?")
_ANSWERS = IPv4Network("127.0.0.0/8")
_REFUSED = IPv4Network("127.255.255.0/24")
"""With these, large lists say that they do not answer us: no listing."""
_NEVER_LISTED = {4: "127.0.0.1", 6: "::ffff:127.0.0.1"}
MOST_REASON = 200


@dataclass(frozen=True, slots=True)
class Zone:
    """One list."""

    name: str
    answers: tuple[IPv4Network, ...] = (_ANSWERS,)
    """Which of its answers count."""
    weight: int | None = None
    """What a listing adds to the score; None: it is refused for that alone."""

    def counts(self, answer: str) -> bool:
        """Is this answer a listing?  Anything out of 127/8 is none (RFC 5782 §2.1)."""
        address = IPv4Address(answer)
        return address not in _REFUSED and any(address in network for network in self.answers)


@dataclass(frozen=True, slots=True)
class Listing:
    """A client that is on a list."""

    zone: Zone
    reason: str = ""


def parse_zones(text: str) -> tuple[Zone, ...]:
    """`bl.example, other.example=127.0.0.2|127.0.0.4*2, allow.example*-3`, or a `ValueError`."""
    return tuple(_zone(part.strip()) for part in text.split(",") if part.strip())


def _zone(text: str) -> Zone:
    match = _ENTRY.fullmatch(text)
    if not match or not _NAME.fullmatch(match["name"]):
        raise ValueError(f"{text!r} is not ZONE, ZONE=ANSWER|ANSWER or either of them *WEIGHT")
    answers = [IPv4Network(one.strip()) for one in (match["answers"] or str(_ANSWERS)).split("|")]
    if not all(network.subnet_of(_ANSWERS) for network in answers):
        raise ValueError(f"{text!r}: answers of lists are in 127.0.0.0/8 (RFC 5782 §2.1)")
    return Zone(
        match["name"].lower(), tuple(answers), int(match["weight"]) if match["weight"] else None
    )


async def ask_zones(
    resolver: Resolver, zones: Sequence[Zone], threshold: int, ip: str, seconds: float
) -> tuple[Finding, int]:
    """What the lists say of an address, and its score; below 0 it is welcome somewhere."""
    found = await asyncio.gather(*(_within(seconds, resolver, zone, ip) for zone in zones))
    listings = [one for one in found if isinstance(one, Listing)]
    score = sum(one.zone.weight or 0 for one in listings)
    names = ",".join(one.zone.name for one in listings)
    hard = [one for one in listings if one.zone.weight is None]
    speaking = hard or [one for one in listings if (one.zone.weight or 0) > 0]
    if hard or (speaking and score >= threshold):
        first = speaking[0]
        text = f"{ip} is on the list {first.zone.name}"
        text += f": {first.reason}" if first.reason else "; see there how to be removed"
        outcome = f"listed:{names}" if hard else f"listed:{names}:score={score}"
        return against(RULE, outcome, 550, "5.7.1", text), score
    if listings:
        return Finding(RULE, f"score={score}:{names}"), score
    return Finding(RULE, "temperror" if found and all(map(_silent, found)) else "pass"), score


def _silent(found: Listing | Exception | None) -> bool:
    return isinstance(found, Exception)


async def _within(
    seconds: float, resolver: Resolver, zone: Zone, ip: str
) -> Listing | Exception | None:
    try:
        async with asyncio.timeout(seconds):
            return await _look_up(resolver, zone, ip)
    except (DnsUnavailable, TimeoutError) as error:
        return error


async def _look_up(resolver: Resolver, zone: Zone, ip: str) -> Listing | None:
    name = query_name(ip, zone.name)
    if not any(zone.counts(answer) for answer in (await resolver.a(name)).records):
        return None
    if await _lists_everybody(resolver, zone, ip):
        log.warning("a list has everybody on it, and is not believed", zone=zone.name)
        return None
    try:
        texts = (await resolver.txt(name)).records
    except DnsUnavailable:
        texts = ()
    return Listing(zone, _printable(texts[0]) if texts else "")


async def _lists_everybody(resolver: Resolver, zone: Zone, ip: str) -> bool:
    """A list that is given up may answer everything; it is known by an address that no list has.

    RFC 5782 §5.  It costs nothing but for listings, and the resolver keeps the answer.
    """
    never = query_name(_NEVER_LISTED[ip_address(ip).version], zone.name)
    return any(zone.counts(answer) for answer in (await resolver.a(never)).records)


def query_name(ip: str, zone: str) -> str:
    """`2.0.0.127.ZONE`; the same with the nibbles of IPv6 (RFC 5782 §2.1, §2.4)."""
    return f"{reverse_name(ip).removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def _printable(text: bytes) -> str:
    """A stranger wrote it, and it goes into a reply."""
    return re.sub(r"[^ -~]+", " ", text[:MOST_REASON].decode("ascii", "replace"))
