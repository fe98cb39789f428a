"""Questions whose answers must say whether they are signed (DNSSEC), for DANE.

The resolver that is asked validates; we believe its AD bit (RFC 6840 §5.8), so it must be reached
over a network of our own: best on the same machine.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from libs.common.dns.answer import DnsUnavailable, canonical_name

MIN_TTL, MAX_TTL = 5.0, 3600.0
NEGATIVE_TTL = 60.0
MOST = 20_000
"""Answers kept."""


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """Records of one type, in their wire form, and whether they are proven."""

    records: tuple[bytes, ...]
    secure: bool
    """Signed up to a trust anchor; also for the proof that there are none."""
    ttl: float = NEGATIVE_TTL


class SignedResolver:
    """Asks `servers` (`ADDRESS[:PORT]`; none: the system's) in turn; keeps answers by their TTL."""

    def __init__(self, servers: Sequence[str], *, timeout: float = 3.0) -> None:
        self._servers = [_address(server) for server in servers]
        self._timeout = timeout
        self._kept: OrderedDict[tuple[str, str], tuple[float, SignedAnswer]] = OrderedDict()

    async def ask(self, name: str, kind: str) -> SignedAnswer:
        """Records of this type; `DnsUnavailable` also when their signatures are bogus."""
        known = canonical_name(name)
        if known is None:
            return SignedAnswer((), False)
        until, kept = self._kept.get((known, kind), (0.0, None))
        if kept is not None and until > time.monotonic():
            return kept
        answer = await self._question(known, kind)
        self._kept[known, kind] = (time.monotonic() + answer.ttl, answer)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return answer

    async def _question(self, name: str, kind: str) -> SignedAnswer:
        query = dns.message.make_query(
            dns.name.from_text(f"{name}."), kind, use_edns=0, flags=dns.flags.RD | dns.flags.AD
        )
        why = "no resolver is known"
        for host, port in self._servers or _system_servers():
            try:
                reply, _ = await dns.asyncquery.udp_with_fallback(
                    query, host, timeout=self._timeout, port=port
                )
            except (OSError, dns.exception.DNSException) as error:
                why = f"{type(error).__name__}"
                continue
            if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return _answer(reply, kind)
            why = dns.rcode.to_text(reply.rcode())
        raise DnsUnavailable(f"{kind} {name}: {why}")


def _answer(reply: dns.message.Message, kind: str) -> SignedAnswer:
    secure = bool(reply.flags & dns.flags.AD)
    sets = [s for s in reply.answer if s.rdtype == dns.rdatatype.from_text(kind)]
    records = tuple(record.to_wire() or b"" for found in sets for record in found)
    if not records:
        return SignedAnswer((), secure)
    ttl = min(found.ttl for found in reply.answer)
    return SignedAnswer(records, secure, max(MIN_TTL, min(float(ttl), MAX_TTL)))


def _system_servers() -> list[tuple[str, int]]:
    try:
        return [(str(host), 53) for host in dns.resolver.get_default_resolver().nameservers]
    except dns.resolver.NoResolverConfiguration:
        return []


def _address(server: str) -> tuple[str, int]:
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port[1:] or 53)
    if server.count(":") > 1:
        return server, 53
    host, _, port = server.partition(":")
    return host, int(port or 53)
