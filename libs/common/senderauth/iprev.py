"""iprev: does the client's name lead back to its address? (RFC 8601 §3)"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from libs.common.dns import DnsUnavailable, Resolver

MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class IprevResult:
    """In the words of RFC 8601 §2.7.3."""

    word: Literal["pass", "fail", "temperror", "permerror"]
    name: str = ""
    """The name that leads back."""


async def check_iprev(resolver: Resolver, ip: str) -> IprevResult:
    """One of the first `MAX_NAMES` names of the address must have it; `ValueError`: no address."""
    address = ip_address(ip)
    try:
        names = (await resolver.ptr(ip)).records[:MAX_NAMES]
        if not names:
            return IprevResult("permerror")
        for name in names:
            answer = await (resolver.a(name) if address.version == 4 else resolver.aaaa(name))
            if any(ip_address(one) == address for one in answer.records):
                return IprevResult("pass", name)
    except DnsUnavailable:
        return IprevResult("temperror")
    return IprevResult("fail")
