"""Where the mail of a domain goes: MX records, in the order of RFC 5321 §5.1."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from libs.common.dns import Answer, DnsUnavailable, Mx, Resolver
from services.relay.dane import Dane
from services.relay.fate import Fate, bounced, deferred
from services.relay.next_hop import NextHop
from services.relay.tls_policy import MAY, Level, TlsPolicy, for_domain

MOST_HOSTS = 5
"""Hosts of one domain that are tried in one attempt (RFC 5321 §5.1 asks for two at least)."""
MOST_ADDRESSES = 6
"""Addresses that are tried in one attempt."""


class RouteFailed(Exception):
    """There is no way to the domain; the fate says whether there may be one later."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(fate.text)
        self.fate = fate


class MxRoute:
    """Mail goes where the domain's DNS says."""

    def __init__(
        self,
        resolver: Resolver,
        hostname: str,
        *,
        port: int = 25,
        allow_private: bool = False,
        levels: Mapping[str, Level] | None = None,
        dane: Dane | None = None,
    ) -> None:
        self._resolver = resolver
        self._levels = levels or {}
        self._dane = dane
        self._hostname = hostname.rstrip(".").lower()
        self._port = port
        self._allow_private = allow_private
        self._shuffle = random.Random().shuffle

    async def hops(self, domain: str) -> Sequence[NextHop]:
        """Addresses to try, in this order; raises `RouteFailed`."""
        level = for_domain(self._levels, domain)
        given = None if level is None else TlsPolicy(level)
        if domain.startswith("["):
            return [self._literal(domain, given or MAY)]
        try:
            hosts = await self._hosts(domain)
            # What is set for a domain is the whole policy; else its DNS may ask for more.
            signed = not given and self._dane and await self._dane.secure_route(domain)
        except DnsUnavailable as error:
            raise RouteFailed(deferred("4.4.3", f"no answer from DNS: {error}")) from error
        hops: list[NextHop] = []
        refused = unknown = 0
        for host in hosts[:MOST_HOSTS]:
            try:
                addresses = await self._addresses(host)
                tls = given or (await self._policy(host) if signed else MAY)
            except DnsUnavailable:
                unknown += 1
                continue
            good = [a for a in addresses if self._may_connect(a)]
            refused += len(addresses) - len(good)
            hops += [NextHop(host, self._port, address, tls) for address in good]
        if hops:
            return hops[:MOST_ADDRESSES]
        raise RouteFailed(_nowhere(domain, hosts, refused, unknown))

    async def _policy(self, host: str) -> TlsPolicy:
        """Of a host whose name came by signed DNS."""
        assert self._dane
        return await self._dane.policy(host, self._port) or TlsPolicy(known_name=True)

    def _literal(self, domain: str, tls: TlsPolicy) -> NextHop:
        """`[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
        text = domain.strip("[]")
        text = text[5:] if text.lower().startswith("ipv6:") else text
        try:
            address = str(ip_address(text))
        except ValueError:
            raise RouteFailed(bounced("5.1.2", f"{domain} is no address literal")) from None
        if not self._may_connect(address):
            raise RouteFailed(bounced("5.4.4", f"{domain} is not an address on the Internet"))
        return NextHop(address, self._port, address, tls)

    async def _hosts(self, domain: str) -> list[str]:
        answer = await self._resolver.mx(domain)
        if not answer.records:
            # RFC 5321 §5.1: without MX records, the domain itself is its mail host.
            return [domain]
        if any(not mx.host or mx.host == "." for mx in answer.records):
            raise RouteFailed(bounced("5.1.10", f"{domain} takes no mail (null MX, RFC 7505)"))
        return self._before_us(domain, answer)

    def _before_us(self, domain: str, answer: Answer[Mx]) -> list[str]:
        """By preference, equals in any order; a host that is not better than us leads back here."""
        ours = [mx.preference for mx in answer.records if mx.host == self._hostname]
        usable = [mx for mx in answer.records if not ours or mx.preference < min(ours)]
        if not usable:
            text = f"the best mail host of {domain} is {self._hostname}, but the domain is not ours"
            raise RouteFailed(bounced("5.4.6", text))
        self._shuffle(usable)
        return [mx.host for mx in sorted(usable, key=lambda mx: mx.preference)]

    async def _addresses(self, host: str) -> list[str]:
        """IPv6 first, and both kinds near the front, in case one of them leads nowhere."""
        six = await self._resolver.aaaa(host)
        four = await self._resolver.a(host)
        v6, v4 = list(six.records), list(four.records)
        self._shuffle(v6)
        self._shuffle(v4)
        mixed = [a for pair in zip(v6, v4, strict=False) for a in pair]
        both = min(len(v6), len(v4))
        return mixed + v6[both:] + v4[both:]

    def _may_connect(self, address: str) -> bool:
        """A stranger's DNS must not lead us to our own network (SSRF)."""
        if self._allow_private:
            return True
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return parsed.is_global and not parsed.is_multicast


def _nowhere(domain: str, hosts: Sequence[str], refused: int, unknown: int) -> Fate:
    names = ", ".join(hosts[:MOST_HOSTS])
    if unknown:
        return deferred("4.4.3", f"no answer from DNS for the addresses of {names}")
    if refused:
        return bounced("5.4.4", f"{names} has only addresses that are not on the Internet")
    if list(hosts) == [domain]:
        return bounced("5.1.2", f"{domain} has neither MX records nor an address; is it right?")
    return bounced("5.4.4", f"the mail hosts of {domain} have no address: {names}")
