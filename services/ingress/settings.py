"""The knobs of ingress."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from libs.common.runtime.settings import HolubSettings, settings_config
from services.ingress.listener import LISTENERS
from services.ingress.peers import parse_networks


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

    timeout_seconds: float = Field(default=300, gt=0)
    """How long we wait for a client (RFC 5321 §4.5.3.2.7)."""

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
