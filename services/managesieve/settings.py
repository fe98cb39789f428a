"""The knobs of managesieve."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


class ManageSieveSettings(HolubSettings):
    """Where managesieve listens, and how much one client may ask for."""

    model_config = settings_config("MANAGESIEVE")

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=4190, ge=0, le=65535)
    """ManageSieve with STARTTLS; 0 turns a listener off."""

    tls_port: int = Field(default=0, ge=0, le=65535)
    """ManageSieve with TLS from the start, which no standard knows; 0: off."""

    allow_plain_login: bool = False
    """Let clients on the loopback address log in without TLS (the demo turns it on)."""

    max_connections: int = Field(default=500, ge=1)
    """Sessions at the same time; more are answered BYE."""

    idle_seconds: float = Field(default=1800, gt=0)
    """A client that says nothing for so long is logged out (RFC 5804 §1.2: 30 minutes at least)."""

    login_seconds: float = Field(default=60, gt=0)
    """How long a client may take from connecting to being logged in."""

    write_seconds: float = Field(default=300, gt=0)
    """How long a client may take no octet of what we send."""

    max_mistakes: int = Field(default=20, ge=1)
    """Lines that were no command before the connection is closed."""

    max_logins: int = Field(default=5, ge=1)
    """Wrong passwords before the connection is closed."""

    drain_seconds: float = Field(default=5, gt=0)
    """How long replies under way may take to finish when we stop."""
