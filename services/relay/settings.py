"""The knobs of relay."""

from __future__ import annotations

import socket

from pydantic import Field, SecretStr, field_validator

from libs.common.runtime.settings import HolubSettings, settings_config
from services.relay.next_hop import NextHop, parse_logins, parse_next_hop, parse_routes
from services.relay.tls_policy import parse_levels


class RelaySettings(HolubSettings):
    """Where mail goes, how much at a time, and how long it is tried."""

    model_config = settings_config("RELAY")

    hostname: str = Field(default_factory=socket.getfqdn)
    """Our name in EHLO and in bounces.  It must resolve to our address, or many hosts refuse us.
    The default is what the machine believes to be its name: right on a server with a name of its
    own, never in a container, where it has to be set."""

    next_hop: str = ""
    """`HOST:PORT` that takes all mail for other hosts; empty: what the MX records say."""

    routes: str = ""
    """`DOMAIN=HOST:PORT,...`: next hops of single domains; `.example.org` is all below it."""

    logins: SecretStr = SecretStr("")
    """`HOST=USER:PASSWORD,...` for next hops that want AUTH, percent-encoded; TLS is required."""

    tls: str = ""
    """`DOMAIN=LEVEL,...` (`.parent` and `*` too): none, may, encrypt, or verify (the host's name).
    What is not named here gets DANE where DNS asks for it, and TLS wherever it works."""

    tls_authorities: str = ""
    """PEM file with certificate authorities besides those of the system."""

    dane: bool = True
    """Whether signed TLSA records are obeyed (RFC 7672).  The resolver must validate (DNSSEC), and
    be reached over a network of one's own; one that does not validate turns DANE off."""

    port: int = Field(default=25, ge=1, le=65535)
    """The port of mail hosts that are found by DNS."""

    allow_private: bool = False
    """Whether DNS may lead to loopback and private addresses: for networks of one's own."""

    dkim: bool = True
    """Whether what accounts send is signed with the keys of its author's domain (RFC 6376)."""

    dkim_check_seconds: float = Field(default=300, ge=1)
    """Time between two looks at the keys: are the new ones in DNS, are old ones to be retired?"""

    dkim_wait_seconds: float = Field(default=900, ge=0)
    """How long a new key must have been seen in DNS before it signs: all name servers have it."""

    dkim_retire_seconds: float = Field(default=8 * 86400, ge=0)
    """How long the record of a key that signs no more stays in DNS: longer than mail is tried."""

    dkim_rotate_days: float = Field(default=0, ge=0)
    """New keys are made when the last ones are so old; 0: only by `holub dkim rotate`."""

    at_once: int = Field(default=50, ge=1, le=1000)
    """Attempts under way at the same time in one process; each has a connection.  As many again
    may be under way at destinations that are slow or do not answer."""

    at_once_by_destination: int = Field(default=20, ge=1, le=1000)
    """The most at one domain; a new one begins with 4, and answers let it grow."""

    slow_seconds: float = Field(default=5, gt=0)
    """An attempt that takes longer makes room for those at other destinations."""

    connect_seconds: float = Field(default=30, gt=0)
    """Until the connection stands."""

    command_seconds: float = Field(default=300, gt=0)
    """Until the reply to a command (RFC 5321 §4.5.3.2)."""

    block_seconds: float = Field(default=180, gt=0)
    """Until a block of content is taken (RFC 5321 §4.5.3.2.5)."""

    dot_seconds: float = Field(default=600, gt=0)
    """Until the reply to the final dot (RFC 5321 §4.5.3.2.6): too short means second copies."""

    attempt_seconds: float = Field(default=1800, gt=0)
    """A whole attempt up to the final dot, however slowly the other side goes on."""

    lease_seconds: float = Field(default=60, ge=1)
    """How soon another process takes over what a dead one had in hand; renewed by live ones."""

    poll_seconds: float = Field(default=1, gt=0)
    """Time between two looks at what is due."""

    delays_seconds: str = "300,900,1800,3600,7200,14400"
    """Times between attempts, by commas; the last one stays.  Each is spread by 20 %."""

    lifetime_seconds: float = Field(default=5 * 86400, gt=0)
    """How long a message is tried (RFC 5321 §4.5.4.1).  What waits for a destination that is left
    alone ends at most about half an hour after that, untried."""

    delay_notice_seconds: float = Field(default=4 * 3600, ge=0)
    """After so long the sender is told, once, that a message still waits, unless NOTIFY says that
    he does not want to know; 0: nobody is told (RFC 3461 §4.1).  It is decided after an attempt, so
    of a message that waits for its turn at a destination that does not answer he may hear later."""

    suppress_after: int = Field(default=3, ge=0, le=1000)
    """A recipient that was refused for good so often, with no mailbox or domain there, gets no more
    mail of that tenant for a while; 0: only what `holub suppression add` names gets none."""

    suppress_days: float = Field(default=30, gt=0, le=3650)
    """How long: since the last refusal."""

    idle_seconds: float = Field(default=10, ge=0)
    """How long a connection is kept for the next message; 0: never."""

    messages_per_connection: int = Field(default=100, ge=1)
    """After so many messages a connection is closed."""

    @field_validator("next_hop")
    @classmethod
    def _is_next_hop(cls, value: str) -> str:
        parse_next_hop(value)
        return value

    @field_validator("routes")
    @classmethod
    def _are_routes(cls, value: str) -> str:
        parse_routes(value)
        return value

    @field_validator("logins")
    @classmethod
    def _are_logins(cls, value: SecretStr) -> SecretStr:
        parse_logins(value.get_secret_value())
        return value

    @field_validator("tls")
    @classmethod
    def _are_levels(cls, value: str) -> str:
        parse_levels(value)
        return value

    @field_validator("delays_seconds")
    @classmethod
    def _are_delays(cls, value: str) -> str:
        if not all(float(item) > 0 for item in value.split(",")):
            raise ValueError("delays must be over 0")
        return value

    @property
    def fixed_routes(self) -> dict[str, NextHop]:
        """Next hops by domain; `*` for all others, when `next_hop` is set."""
        hop = parse_next_hop(self.next_hop)
        return ({"*": hop} if hop else {}) | parse_routes(self.routes)

    @property
    def delays(self) -> tuple[float, ...]:
        """The times between attempts, in seconds."""
        return tuple(float(item) for item in self.delays_seconds.split(","))
