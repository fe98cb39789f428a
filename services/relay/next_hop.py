"""A host to hand mail to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NextHop:
    """A host to connect to."""

    host: str
    """Its name, which its certificate should have."""
    port: int = 25
    address: str = ""
    """Where to connect; empty: look the name up."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        at = f" [{self.address}]" if self.address and self.address != self.host else ""
        return f"{host}{at}:{self.port}"


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
