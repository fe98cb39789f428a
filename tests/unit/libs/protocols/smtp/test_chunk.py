"""The argument of BDAT (RFC 3030 §2)."""

from __future__ import annotations

import pytest

from libs.protocols.smtp.chunk import parse_chunk
from libs.protocols.smtp.reply import Refusal


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", (0, False)),
        ("0 LAST", (0, True)),
        ("86 last", (86, True)),
        ("007", (7, False)),
        ("9" * 12, (10**12 - 1, False)),
    ],
)
def test_a_chunk_has_octets_and_may_be_the_last(argument: str, chunk: tuple[int, bool]) -> None:
    assert parse_chunk(argument) == chunk


@pytest.mark.parametrize(
    "argument",
    ["", "LAST", "-1", "+1", "0x10", "1 2", "1 LAST x", "1LAST", "٣", "1.0", "9" * 13, "1 FIRST"],
)
def test_a_length_that_is_none_ends_the_session(argument: str) -> None:
    """CVE-2017-16943 and -16944 (Exim): octets of unknown number must not become commands."""
    with pytest.raises(Refusal) as refusal:
        parse_chunk(argument)

    assert refusal.value.reply.code == 421
