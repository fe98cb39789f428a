"""What is measured: a mail system that takes SMTP and serves IMAP."""

from __future__ import annotations

from typing import Protocol

DOMAIN = "example.test"
PASSWORD = "bench-password"


class Subject(Protocol):
    """One side, started fresh for each round, stopped with all its processes and data."""

    name: str
    smtp_port: int
    imap_port: int

    def start(self) -> None:
        """Return when it takes mail; `ServerUnavailable` when it cannot be had here."""

    def stop(self) -> None:
        """End every process of it."""

    def roots(self) -> dict[str, int]:
        """The pids whose whole families are this system, by what they are."""

    def stored(self) -> int:
        """How many messages IMAP could show now."""

    def durability(self) -> list[str]:
        """The settings that decide what a 250 is worth, as this run has them."""
