"""helo: is the name in HELO or EHLO one that a mail host may have?

RFC 5321 §4.1.4 forbids to refuse because the name does not lead to the client's address, so that is
not looked at.  What is: that it is a name or an address at all, of somebody else than us, and that
DNS knows it (RFC 5321 §2.3.5).
"""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_address

from libs.common.dns import DnsUnavailable, Resolver
from services.ingress.screen.rule import Finding, against

RULE = "helo"
# The last label is not a number: that would be an address without its brackets.
_NAME = re.compile(r"(?:[^\W_][\w-]{0,62}\.)+(?!\d+\.?$)[^\W_][\w-]{0,62}\.?")
_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]", re.IGNORECASE)


async def ask_helo(
    resolver: Resolver, name: str, ip: str, hostname: str, seconds: float
) -> Finding:
    """What is to be said of the name."""
    if wrong := fault_of(name, ip, hostname):
        outcome, text = wrong
        return against(RULE, outcome, 550, "5.7.1", f"{text}; you said {name}")
    if name.startswith("["):
        return Finding(RULE, "pass")
    try:
        async with asyncio.timeout(seconds):
            known = await _is_known(resolver, name)
    except (DnsUnavailable, TimeoutError):
        return Finding(RULE, "temperror")
    if known:
        return Finding(RULE, "pass")
    text = f"DNS does not know the name {name} that you said in HELO or EHLO (RFC 5321 §2.3.5)"
    return against(RULE, "unknown", 550, "5.7.1", text)


def fault_of(name: str, ip: str, hostname: str) -> tuple[str, str] | None:
    """(outcome, text) of what can be seen without DNS."""
    if literal := _LITERAL.fullmatch(name):
        try:
            right = ip_address(literal[1]) == ip_address(ip)
        except ValueError:
            right = False
        return None if right else ("mismatch", "the address in HELO or EHLO is not yours")
    if not _NAME.fullmatch(name):
        return "invalid", "say your full host name or [address] in HELO or EHLO"
    if name.rstrip(".").lower() == hostname.lower():
        return "ours", "the name in HELO or EHLO is ours"
    return None


async def _is_known(resolver: Resolver, name: str) -> bool:
    asked = await asyncio.gather(
        resolver.a(name), resolver.aaaa(name), resolver.mx(name), return_exceptions=True
    )
    if any(not isinstance(one, BaseException) and one.records for one in asked):
        return True
    for one in asked:
        if isinstance(one, BaseException):
            raise one
    return False
