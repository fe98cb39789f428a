"""DNS questions behind one protocol: real answers by c-ares, static ones for tests.

An answer tells a name that does not exist from a name without such records, and both from no
answer at all, because SPF, DMARC and MX routing do different things in the three cases.
"""

from __future__ import annotations

from libs.common.dns.answer import Answer, DnsUnavailable, Mx, Resolver, reverse_name
from libs.common.dns.static import StaticResolver

__all__ = [
    "Answer",
    "DnsUnavailable",
    "Mx",
    "Resolver",
    "StaticResolver",
    "open_resolver",
    "reverse_name",
]


def open_resolver(servers: str) -> Resolver:
    """A caching resolver that asks `servers` (`ADDRESS[:PORT]`, by commas; empty: the system's)."""
    from libs.common.dns.aiodns import AiodnsResolver

    return AiodnsResolver([item.strip() for item in servers.split(",") if item.strip()])
