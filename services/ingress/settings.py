"""The knobs of ingress."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from libs.common.accounts.screening import Mode
from libs.common.runtime.settings import HolubSettings, settings_config
from services.ingress.listener import LISTENERS
from services.ingress.peers import parse_networks
from services.ingress.screen.zones import Zone, parse_zones


class IngressSettings(HolubSettings):
    """What ingress listens on, and how much it takes."""

    model_config = settings_config("INGRESS")

    hostname: str = "mail.example.test"
    """Our name in the greeting and in Received."""

    host: str = "127.0.0.1"
    """The address to listen on."""

    smtp_port: int = Field(default=2525, ge=0, le=65535)
    """MX: mail from other hosts for our domains; 0 turns a listener off."""

    submission_port: int = Field(default=2587, ge=0, le=65535)
    """Submission with STARTTLS (RFC 6409)."""

    submissions_port: int = Field(default=2465, ge=0, le=65535)
    """Submission with TLS from the start (RFC 8314)."""

    lmtp_port: int = Field(default=2424, ge=0, le=65535)
    """LMTP (RFC 2033), for a relay that we trust to have filtered nothing."""

    max_message_octets: int = Field(default=50 * 1024 * 1024, ge=64 * 1024)
    """The largest content; announced as SIZE."""

    max_recipients: int = Field(default=1000, ge=100)
    """Recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100 at least)."""

    max_connections: int = Field(default=2000, ge=1)
    """Sessions at the same time; more are answered 421."""

    max_received: int = Field(default=50, ge=10)
    """Received fields in a message; more mean a loop (RFC 5321 §6.3)."""

    max_errors: int = Field(default=20, ge=1)
    """Refused commands in one session before it is closed."""

    max_idle_commands: int = Field(default=100, ge=10)
    """EHLO, RSET, NOOP, VRFY and HELP in one session since its last message; then it is closed."""

    handshake_seconds: float = Field(default=20, gt=0)
    """How long a TLS handshake may take."""

    timeout_seconds: float = Field(default=300, gt=0)
    """How long we wait for a client (RFC 5321 §4.5.3.2.7)."""

    min_octets_per_second: int = Field(default=100, ge=0)
    """Content that comes slower than this, over half of `timeout_seconds` or more, is not waited
    for; 0: as slow as it likes."""

    verdict_seconds: float = Field(default=15, ge=0, le=20)
    """How long the final reply waits for filter's verdict; 0: not at all."""

    publish_seconds: float = Field(default=5, gt=0, le=5)
    """The bound on putting the job; then the outbox."""

    max_unpublished: int = Field(default=10_000, ge=1)
    """Messages that may be accepted without a job, segment only; then 451."""

    max_unpublished_octets: int = Field(default=1024**3, ge=1)
    """Octets of such messages."""

    account_messages: int = Field(default=0, ge=0)
    """Messages that one account may begin in an hour by submission; 0: no limit.  Those of a
    tenant are set by `holub tenant set`."""

    account_recipients: int = Field(default=0, ge=0)
    """Recipients that one account may name in a day; 0: no limit."""

    proxy_listeners: str = ""
    """Listeners, comma-separated (mx, submission, submissions, lmtp), that are reached through a
    load balancer: each connection must begin with a PROXY header, version 1 or 2."""

    proxy_networks: str = ""
    """Addresses and networks of these load balancers, comma-separated; all others are closed."""

    xclient_networks: str = ""
    """Addresses and networks that may name the client with XCLIENT, comma-separated."""

    spool_folder: str = ""
    """Where content over 256 KiB waits while it streams in; empty: the system's choice."""

    @field_validator("proxy_networks", "xclient_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @model_validator(mode="after")
    def _proxied(self) -> Self:
        names = {listener.name for listener in LISTENERS}
        if not self.proxied <= names:
            raise ValueError(f"proxy_listeners: names are {', '.join(sorted(names))}")
        if self.proxied and not parse_networks(self.proxy_networks):
            raise ValueError("proxy_listeners needs proxy_networks: whom do we believe?")
        return self

    @property
    def proxied(self) -> set[str]:
        """The names in `proxy_listeners`."""
        return {name.strip() for name in self.proxy_listeners.split(",") if name.strip()}


Early = Mode | Literal["close"]


class MxSettings(HolubSettings):
    """What the MX listener asks of strangers before DATA.

    Most rules have a mode: `off`; `note`, which only shows in the trace; `refuse`, which refuses
    the recipient.  A domain may choose another mode for a rule that is not `off` here.
    """

    model_config = settings_config("MX")

    exempt_networks: str = (
        "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, fe80::/10"
    )
    """Addresses and networks that are asked nothing, comma-separated: our own, and those of
    secondary MX hosts (what comes through these is not theirs)."""

    connections: int = Field(default=50, ge=0)
    """Sessions of one address at the same time, in all replicas together; of an IPv6 /64 three
    times as many, here and in the next four.  0: no limit."""

    connections_per_minute: int = Field(default=0, ge=0)
    """New connections of one address in a minute; more are answered 421.  0: no limit."""

    messages_per_hour: int = Field(default=0, ge=0)
    """Messages that one address may begin in an hour; more are answered 450.  0: no limit."""

    recipients_per_hour: int = Field(default=0, ge=0)
    """Recipients that one address may name in an hour; more are answered 450.  0: no limit."""

    unknown_per_hour: int = Field(default=0, ge=0)
    """Unknown recipients of one address in an hour: who guesses more of them is answered 421 until
    it is over.  0: no limit."""

    required_per_hour: int = Field(default=60, ge=0)
    """Messages of one address in an hour to `postmaster` and `abuse`, which no quota and no other
    rule keeps out; more are answered 450.  0: no limit."""

    greeting_seconds: float = Field(default=0, ge=0, le=10)
    """The greeting waits so long to see who speaks before it; 0: it does not wait."""

    early_talk: Early = Mode.NOTE
    """Who speaks before the greeting; `close`: hears 554, and the connection is closed."""

    pipelining: Early = Mode.NOTE
    """Who does not wait for a reply where RFC 2920 §3.1 says to; `close`: as above."""

    dnsbl: Mode = Mode.REFUSE
    """Who is on the lists in `HOLUB_MX_ZONES`."""

    zones: str = ""
    """Block and allow lists (RFC 5782), comma-separated: `bl.example` refuses for a listing alone,
    `bl.example*2` adds to a score, `allow.example*-3` takes from it.  `bl.example=127.0.0.2` and
    `bl.example=127.0.0.2|127.0.0.8/29*2` only look at these answers.  Who is below 0 is not
    greylisted.  Read the terms of each list before you name it."""

    threshold: int = Field(default=3, ge=1)
    """The score from which on `dnsbl` speaks against a client."""

    iprev: Mode = Mode.OFF
    """Whose address has no name in DNS, or one that does not lead back to it (RFC 8601 §3)."""

    helo: Mode = Mode.OFF
    """Whose name in HELO or EHLO is none, is ours, or is unknown to DNS."""

    dns_seconds: float = Field(default=5, gt=0, le=20)
    """How long a client's first recipient may wait for DNS; what has no answer then is not asked.
    The time runs from the connection on."""

    greylist: Mode = Mode.OFF
    """Who sends to a recipient for the first time is asked to come again (RFC 6647).  With `note`
    only where a domain chose `refuse`."""

    greylist_seconds: float = Field(default=300, ge=1, le=7200)
    """After how long."""

    greylist_welcome_after: int = Field(default=5, ge=0)
    """A network that came again so often is not asked any more; 0: always."""

    tarpit_after: int = Field(default=3, ge=0)
    """Refused commands of a session that are answered at once."""

    tarpit_seconds: float = Field(default=0, ge=0, le=5)
    """How much longer each further refusal takes (5 seconds at most for one); 0: no longer."""

    @field_validator("exempt_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("zones")
    @classmethod
    def _zones(cls, value: str) -> str:
        parse_zones(value)
        return value

    @property
    def ask_nothing(self) -> bool:
        """Is every rule off?"""
        limits = (
            self.connections,
            self.connections_per_minute,
            self.messages_per_hour,
            self.recipients_per_hour,
            self.unknown_per_hour,
            self.tarpit_seconds,
        )
        modes = (self.early_talk, self.pipelining, self.iprev, self.helo, self.greylist)
        return not (any(limits) or self.lists or any(mode is not Mode.OFF for mode in modes))

    @property
    def lists(self) -> tuple[Zone, ...]:
        """The lists to ask."""
        return parse_zones(self.zones) if self.dnsbl is not Mode.OFF else ()
