"""iprev: does the client's address have a name that leads back to it? (RFC 8601 §3)"""

from __future__ import annotations

import asyncio

from libs.common.dns import Resolver
from libs.common.senderauth.iprev import IprevResult, check_iprev
from services.ingress.screen.rule import Finding, against

RULE = "iprev"


async def ask_iprev(resolver: Resolver, ip: str, seconds: float) -> tuple[Finding, str]:
    """The finding, and the name that was verified."""
    try:
        async with asyncio.timeout(seconds):
            found = await check_iprev(resolver, ip)
    except TimeoutError:
        found = IprevResult("temperror")
    if found.word in ("pass", "temperror"):
        return Finding(RULE, found.word), found.name
    text = f"{ip} has no name in DNS" if found.word == "permerror" else f"the name of {ip} in DNS"
    text += "; give it one" if found.word == "permerror" else " does not lead back to it; mend it"
    # RFC 7372 §3.3
    return against(RULE, found.word, 550, "5.7.25", text), ""
