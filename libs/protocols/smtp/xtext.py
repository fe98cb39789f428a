"""xtext: `+3D` stands for `=` (RFC 3461 §4)."""

from __future__ import annotations

import re

_HEX = re.compile(r"\+([0-9A-F]{2})")


def decode_xtext(text: str) -> str:
    """What was encoded; a `+` that begins no code stays."""
    return _HEX.sub(lambda match: chr(int(match[1], 16)), text)
