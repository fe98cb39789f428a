"""What a listener is: who may use it, and how it speaks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """One of the ports."""

    name: str
    port_setting: str
    submission: bool = False
    """Clients must authenticate (RFC 6409 §4.3)."""
    implicit_tls: bool = False
    lmtp: bool = False
    screened: bool = False
    """Clients are strangers (`services.ingress.screen`)."""


LISTENERS = (
    Listener("mx", "smtp_port", screened=True),
    Listener("submission", "submission_port", submission=True),
    Listener("submissions", "submissions_port", submission=True, implicit_tls=True),
    Listener("lmtp", "lmtp_port", lmtp=True),
)
