"""xtext (RFC 3461 §4)."""

from __future__ import annotations

from libs.protocols.smtp.xtext import decode_xtext


def test_codes_are_decoded_and_the_rest_is_kept() -> None:
    assert decode_xtext("a+2Bb+3Dc+d+2") == "a+b=c+d+2"
