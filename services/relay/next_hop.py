"""A host to hand mail to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from services.relay.tls_policy import MAY, Level, TlsPolicy


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are for a smarthost; the password is never shown."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NextHop:
    """A host to connect to, and how: connections are shared between equal ones only."""

    host: str
    """Its name, which its certificate should have."""
    port: int = 25
    address: str = ""
    """Where to connect; empty: look the name up."""
    tls: TlsPolicy = MAY
    login: Login | None = None

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


def parse_pairs(text: str) -> dict[str, str]:
    """`KEY=VALUE,KEY=VALUE` with keys in lower case; `ValueError` for anything else."""
    pairs = [item.strip().partition("=") for item in text.split(",") if item.strip()]
    if not all(key and value for key, _, value in pairs):
        # The item itself is not shown: it may hold a password.
        raise ValueError("write NAME=VALUE, separated by commas")
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def parse_routes(text: str) -> dict[str, NextHop]:
    """`DOMAIN=HOST:PORT,...`; see `for_domain` for what a domain may be."""
    hops = {domain: parse_next_hop(value) for domain, value in parse_pairs(text).items()}
    return {domain: hop for domain, hop in hops.items() if hop}


def parse_logins(text: str) -> dict[str, Login]:
    """`HOST=USER:PASSWORD,...`, both percent-encoded where they hold `,`, `:` or `%`."""
    logins = {}
    for host, value in parse_pairs(text).items():
        user, _, password = value.partition(":")
        if not (user and password):
            raise ValueError(f"write {host}=USER:PASSWORD")
        logins[host] = Login(unquote(user), unquote(password))
    return logins


def at_least(hop: NextHop, level: Level) -> NextHop:
    """The same host with TLS of this level or more."""
    if hop.tls.level >= level:
        return hop
    return replace(hop, tls=replace(hop.tls, level=level))


def proving(hop: NextHop) -> NextHop:
    """The same host for a message with REQUIRETLS: its name is checked where it means something.

    Where it does not, because unsigned DNS gave the name, the transaction says so.
    """
    return at_least(hop, Level.VERIFY) if hop.tls.known_name else hop
