"""The way to a domain: what the settings say of it, or what its DNS says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.relay.mx import MxRoute
from services.relay.next_hop import Login, NextHop, at_least
from services.relay.tls_policy import Level, TlsPolicy, for_domain


class Routes:
    """Fixed next hops for some domains or for all, MX records for the others."""

    def __init__(
        self,
        fixed: Mapping[str, NextHop],
        by_dns: MxRoute,
        *,
        levels: Mapping[str, Level],
        logins: Mapping[str, Login],
    ) -> None:
        self._fixed = fixed
        self._by_dns = by_dns
        self._levels = levels
        self._logins = logins

    async def hops(self, domain: str) -> Sequence[NextHop]:
        """Hosts to try, in this order; raises `RouteFailed`."""
        hop = for_domain(self._fixed, domain)
        if hop is None:
            return await self._by_dns.hops(domain)
        return [self._with_policy(hop, domain)]

    def _with_policy(self, hop: NextHop, domain: str) -> NextHop:
        login = self._logins.get(hop.host.lower())
        level = for_domain(self._levels, domain)
        if level is None:
            level = Level.VERIFY if login else Level.MAY
        # The name was written by us, so a certificate for it proves something.
        hop = replace(hop, tls=TlsPolicy(level, known_name=True), login=login)
        # A password never goes over a connection that anybody can read.
        return at_least(hop, Level.ENCRYPT) if login else hop
