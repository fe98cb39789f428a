"""Which peers we believe when they say that somebody else is the client."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Networks = Sequence[IPv4Network | IPv6Network]


def parse_networks(text: str) -> Networks:
    """`10.0.0.0/8, ::1` as networks; a `ValueError` names the one that is none."""
    return [ip_network(word.strip()) for word in text.split(",") if word.strip()]


def is_listed(address: str, networks: Networks) -> bool:
    """Is the address in one of them?  An IPv4 address mapped into IPv6 counts as itself."""
    if not networks:
        return False
    ip = ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in networks)
