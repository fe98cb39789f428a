"""The knobs of imap."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


class ImapSettings(HolubSettings):
    """Where imap listens, and how much one client may ask for."""

    model_config = settings_config("IMAP")

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=2143, ge=0, le=65535)
    """IMAP with STARTTLS; 0 turns a listener off."""

    tls_port: int = Field(default=2993, ge=0, le=65535)
    """IMAP with TLS from the start."""

    allow_plain_login: bool = False
    """Let clients on the loopback address log in without TLS (the demo turns it on)."""

    max_connections: int = Field(default=5000, ge=1)
    """Sessions at the same time; more are answered BYE."""

    max_append_octets: int = Field(default=50 * 1024 * 1024, ge=1024)
    """The largest message that APPEND takes."""

    idle_seconds: float = Field(default=1860, gt=0)
    """A client that says nothing for so long is logged out (RFC 9051 §5.4: 30 minutes at least)."""

    login_seconds: float = Field(default=60, gt=0)
    """How long a client may take to log in."""

    max_bad: int = Field(default=50, ge=1)
    """Commands that broke the grammar before the connection is closed."""
