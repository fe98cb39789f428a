"""Which certificates a host's signed DNS allows (RFC 7672 §2)."""

from __future__ import annotations

from libs.common.dns.signed import SignedResolver
from services.relay.tls_policy import Level, Tlsa, TlsPolicy


class Dane:
    """Finds the policy of a host."""

    def __init__(self, resolver: SignedResolver) -> None:
        self._resolver = resolver

    async def secure_route(self, domain: str) -> bool:
        """Whether the hosts of the domain come from signed DNS; else DANE proves nothing."""
        return (await self._resolver.ask(domain, "MX")).secure

    async def policy(self, host: str, port: int) -> TlsPolicy | None:
        """DANE, or encryption alone, or None: the host asks for nothing.

        `DnsUnavailable`: it may ask for something that we cannot see, so nothing may be sent to it
        now (RFC 7672 §2.1.2).
        """
        # RFC 7672 §2.2.2: TLSA is asked only where addresses are signed, for servers of unsigned
        # zones often choke on it.
        if not await self._has_signed_address(host):
            return None
        answer = await self._resolver.ask(f"_{port}._tcp.{host}", "TLSA")
        if not answer.records or not answer.secure:
            return None
        usable = tuple(record for wire in answer.records if (record := parse_tlsa(wire)))
        # RFC 7672 §2.2: records of which none can be used still forbid plain text.
        level = Level.DANE if usable else Level.ENCRYPT
        return TlsPolicy(level, usable, known_name=bool(usable))

    async def _has_signed_address(self, host: str) -> bool:
        for kind in ("A", "AAAA"):
            answer = await self._resolver.ask(host, kind)
            if answer.records:
                return answer.secure
        return False


def parse_tlsa(wire: bytes) -> Tlsa | None:
    """The record, or None: of no use for mail (RFC 7672 §3.1.3), or of an unknown kind."""
    if len(wire) < 4:
        return None
    usage, selector, matching, data = wire[0], wire[1], wire[2], wire[3:]
    lengths = {1: 32, 2: 64}
    good = usage in (2, 3) and selector in (0, 1) and matching in (0, 1, 2)
    if not good or len(data) != lengths.get(matching, len(data)):
        return None
    return Tlsa(usage, selector, matching, data)
