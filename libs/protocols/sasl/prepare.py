"""SASLprep (RFC 4013): passwords that look alike are alike."""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(given: str) -> str:
    """The prepared form of a password; `ValueError` when it has what is prohibited."""
    if given.isascii() and given.isprintable():
        return given
    # RFC 4013 §2.1: spaces become one kind, and what stands for nothing goes.
    mapped = "".join(
        " " if stringprep.in_table_c12(sign) else sign
        for sign in given
        if not stringprep.in_table_b1(sign)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(prohibited(sign) for sign in prepared for prohibited in _PROHIBITED):
        raise ValueError("a control or otherwise prohibited character (RFC 4013 §2.3)")
    if not _directions_agree(prepared):
        raise ValueError("left-to-right and right-to-left are mixed (RFC 3454 §6)")
    return prepared


def _directions_agree(prepared: str) -> bool:
    right_to_left = [stringprep.in_table_d1(sign) for sign in prepared]
    if not any(right_to_left):
        return True
    mixed = any(stringprep.in_table_d2(sign) for sign in prepared)
    return not mixed and right_to_left[0] and right_to_left[-1]
