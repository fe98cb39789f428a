"""The circuit breaker before the queue: after failures it is not asked for a while."""

from __future__ import annotations

import time

from prometheus_client import Gauge

_OPEN = Gauge("holub_ingress_breaker_open", "1 while the queue is not asked.")
_FAILURES = 2
_PAUSE_SECONDS = 5.0


class Breaker:
    """Opens after failures in a row; every five seconds one caller may try again."""

    def __init__(self) -> None:
        self._failures = 0
        self._try_at = 0.0

    def allows(self) -> bool:
        """May this caller ask the queue?"""
        if self._failures < _FAILURES:
            return True
        now = time.monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + _PAUSE_SECONDS
        return True

    def succeeded(self) -> None:
        """The queue answered."""
        self._failures = 0
        _OPEN.set(0)

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        if self._failures >= _FAILURES:
            self._try_at = time.monotonic() + _PAUSE_SECONDS
            _OPEN.set(1)
