"""How far a long command is, on standard error."""

from __future__ import annotations

import sys
import time

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0


class Progress:
    """One line that is written over on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._every = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._last = time.monotonic()

    def step(self, text: str) -> None:
        """Where it is now; most calls print nothing."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        self._print(text, "\r" if self._terminal else "\n")

    def done(self, text: str) -> None:
        """A part is finished."""
        self._print(text, "\n")

    def _print(self, text: str, end: str) -> None:
        clear = "\033[K" if self._terminal else ""
        print(f"{clear}{text}", end=end, file=sys.stderr, flush=True)


def octets(count: int) -> str:
    """`12.3 MB`."""
    size = float(count)
    for unit in ("octets", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "octets" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
