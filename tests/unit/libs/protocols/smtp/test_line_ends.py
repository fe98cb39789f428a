"""What content must not have is seen at every split (CVE-2023-51764, CVE-2023-51766)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.smtp.line_ends import LineEnds

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def look(*pieces: bytes) -> LineEnds:
    ends = LineEnds()
    for piece in pieces:
        ends.feed(piece)
    ends.end()
    return ends


@pytest.mark.parametrize(
    "bad",
    [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\nb\r\n", b"a\n\r\n", b"\nb\r\n", b"\rb\r\n", b"a\r", b"a\n"],
)
def test_bare_line_ends_are_seen_at_every_split(bad: bytes) -> None:
    for split in range(len(bad) + 1):
        assert look(bad[:split], bad[split:]).bare


@given(st.lists(st.text("\r\na.", max_size=6), max_size=8))
def test_it_is_what_a_pattern_with_look_behind_finds(pieces: list[str]) -> None:
    data = [piece.encode() for piece in pieces]

    assert look(*data).bare == bool(_BARE.search(b"".join(data)))


def test_a_bare_cr_and_a_bare_lf_do_not_make_up_for_each_other() -> None:
    assert look(b"a\rb\nc\r\n").bare


@pytest.mark.parametrize("content", [b"", b"a", b"a\r\n", b"\r\n\r\n"])
def test_lines_that_end_in_crlf_are_in_order(content: bytes) -> None:
    ends = look(content)

    assert not ends.bare
