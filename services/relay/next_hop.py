"""The next hop of a domain.  Today there is one for all: a fixed host."""

from __future__ import annotations

from dataclasses import dataclass

NOT_CONFIGURED = "no next hop configured: set HOLUB_RELAY_NEXT_HOP to HOST:PORT"


@dataclass(frozen=True, slots=True)
class NextHop:
    """A host to connect to."""

    host: str
    port: int = 25

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_next_hop(text: str) -> NextHop | None:
    """`HOST`, `HOST:PORT` or `[IPV6]:PORT`; None for the empty string, else `ValueError`."""
    text = text.strip()
    if not text:
        return None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        good = bool(bracket) and (not rest or rest.startswith(":"))
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
        good = True
    port = port or "25"
    if not (good and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("write HOST:PORT, or [IPV6]:PORT")
    return NextHop(host, int(port))
