"""How fast content comes: a drip would hold a session for ever (S9)."""

from __future__ import annotations


class Pace:
    """Looked at now and then, so that it costs nothing for each block."""

    def __init__(self) -> None:
        self._at = 0.0
        self._octets = 0

    def too_slow(self, now: float, octets: int, *, over_seconds: float, least: float) -> bool:
        """Have fewer than `least` octets in a second come since the last look?

        Over less than `over_seconds` nothing is said: everybody may pause.
        """
        took, came = now - self._at, octets - self._octets
        if self._at and took < over_seconds:
            return False
        first, self._at, self._octets = not self._at, now, octets
        return not first and came < least * took
