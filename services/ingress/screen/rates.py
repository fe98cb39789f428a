"""How much one address, and one IPv6 /64, may do in a time, counted by all replicas together."""

from __future__ import annotations

import time

from libs.common.limits import Limit, Limits, network_keys
from libs.protocols.smtp.reply import Reply
from services.ingress.screen.connections import NETWORK_FACTOR

MINUTE, HOUR = 60, 3600


class Rate:
    """One kind of thing that is counted; a limit of 0 counts nothing."""

    def __init__(self, limits: Limits, what: str, most: int, seconds: int, code: int) -> None:
        self._counts = limits.counts
        self._what = what
        self._most = most
        self._seconds = seconds
        self._code = code

    def count(self, ip: str) -> Reply | None:
        """Count one; or why it is one too many (then it is not counted)."""
        reply = self.full(ip)
        if reply is None:
            self.add(ip)
        return reply

    def full(self, ip: str) -> Reply | None:
        """Why there may not be one more; counts nothing."""
        now = time.time()
        for key, limit in self._limits(ip):
            if not self._counts.allows(key, limit, now):
                unit = "minute" if self._seconds == MINUTE else "hour"
                text = f"{limit.most} {self._what} in a {unit} are the limit for your address"
                return Reply(self._code, "4.7.1", f"{text}; please try again later (rule rates)")
        return None

    def add(self, ip: str) -> None:
        """Count one, allowed or not."""
        now = time.time()
        for key, limit in self._limits(ip):
            self._counts.add(key, limit, now)

    def _limits(self, ip: str) -> list[tuple[str, Limit]]:
        if not self._most:
            return []
        return [
            (
                f"mx-{self._what}:{key}",
                Limit(
                    self._most * (NETWORK_FACTOR if key.startswith("net/") else 1), self._seconds
                ),
            )
            for key in network_keys(ip)
        ]
