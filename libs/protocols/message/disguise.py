"""Authentication-Results fields that a stranger forged in our name, made harmless when shown.

The content stays as it came, and so does every offset and size: at the given offsets a name of the
same length is shown instead (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Sequence

FORGED = b"Authentication-Results"
SHOWN = b"X-Removed-Auth-Results"
"""As long as what it stands for."""


def disguise(octets: bytes, start: int, offsets: Sequence[int]) -> bytes:
    """Octets of a content from `start` on, with the names at these offsets of it replaced."""
    stop = start + len(octets)
    if not any(offset < stop and start < offset + len(SHOWN) for offset in offsets):
        return octets
    shown = bytearray(octets)
    for offset in offsets:
        first, last = max(offset, start), min(offset + len(SHOWN), stop)
        if first < last:
            shown[first - start : last - start] = SHOWN[first - offset : last - offset]
    return bytes(shown)
