"""Under which names a client's address is counted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network


@lru_cache(maxsize=10_000)
def network_keys(ip: str) -> tuple[str, ...]:
    """`ip/ADDRESS`, and for IPv6 `net/PREFIX::/64`: a host there has a whole /64 to itself.

    An IPv4 address inside of IPv6 is the IPv4 address.  No address (a unix socket) has no name.
    """
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return ()
    if isinstance(address, IPv4Address):
        return (f"ip/{address}",)
    if address.ipv4_mapped is not None:
        return (f"ip/{address.ipv4_mapped}",)
    return (f"ip/{address}", f"net/{ip_network((address, 64), strict=False)}")
