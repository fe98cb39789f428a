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
    """The largest message that APPEND takes; one MULTIAPPEND takes twice as much in all."""

    idle_seconds: float = Field(default=1860, gt=0)
    """A client that says nothing for so long is logged out (RFC 9051 §5.4: 30 minutes at least)."""

    login_seconds: float = Field(default=60, gt=0)
    """How long a client may take from connecting to being logged in."""

    write_seconds: float = Field(default=300, gt=0)
    """How long a client may take no octet of what we send."""

    max_bad: int = Field(default=50, ge=1)
    """Commands that broke the grammar before the connection is closed."""

    max_logins: int = Field(default=5, ge=1)
    """Wrong passwords before the connection is closed."""

    max_search_octets: int = Field(default=2 * 1024**3, ge=1)
    """Octets of messages that one SEARCH reads; then it is answered NO [LIMIT]."""

    max_search_seconds: float = Field(default=60, gt=0)
    """How long one SEARCH may read messages."""

    max_searches: int = Field(default=4, ge=1)
    """Searches that read messages at the same time in one process; others wait."""

    view_messages: int = Field(default=500_000, ge=0)
    """Messages whose UIDs and flags stay in memory (about 350 octets each) after the last session
    has left their mailbox, so that the next SELECT is quick."""

    summary_octets: int = Field(default=64 * 1024 * 1024, ge=0)
    """Octets of ENVELOPEs and BODYSTRUCTUREs that are kept in memory."""

    drain_seconds: float = Field(default=5, gt=0)
    """How long commands under way may take to finish when we stop."""

    spool_folder: str = ""
    """Where an APPEND over 256 KiB waits while it streams in; empty: the system's choice."""
