"""Header sections: where they end and which fields they have."""

from __future__ import annotations

import pytest

from libs.protocols.message.header import (
    MAX_FIELDS,
    MAX_HEADER_OCTETS,
    header_end,
    parse_header,
    unfold,
)


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\n\r\nbody", 7),
        (b"A: b\r\n\nbody\r\n\r\n", 7),
        (b"A: b\n\r\nbody\n\n", 7),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\r\n", 6),
        (b"", 0),
    ],
)
def test_the_first_blank_line_ends_the_header(content: bytes, end: int) -> None:
    assert header_end(content) == end


@pytest.mark.parametrize("length", range(8_185, 8_195))
@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_a_blank_line_is_found_wherever_the_search_windows_end(
    length: int, line_break: bytes
) -> None:
    head = b"A: ".ljust(length, b"x") + line_break * 2

    assert header_end(head + b"body" * 9_000) == len(head)


def test_fields_have_their_octet_offsets() -> None:
    content = b"A: b\r\nSubject:  two\r\n lines\r\n\r\nbody"

    header = parse_header(content)

    assert [content[one.start : one.end] for one in header.fields] == [
        b"A: b\r\n",
        b"Subject:  two\r\n lines\r\n",
    ]
    assert header.fields[1].name == b"subject"
    assert header.fields[1].value == b"  two\r\n lines"


def test_values_are_unfolded_and_stripped() -> None:
    assert parse_header(b"A: x\n\ty \n\n").first(b"a") == b"x\ty"
    assert unfold(b" a\r\n b\r\n") == b"a b"


def test_first_and_all_tell_repeated_fields_apart() -> None:
    header = parse_header(b"To: a\nCC: b\nto: c\n\n")

    assert header.first(b"to") == b"a"
    assert header.all(b"to") == [b"a", b"c"]
    assert header.first(b"bcc") is None
    assert header.all(b"bcc") == []


def test_lines_that_are_no_field_are_passed_over_with_their_continuations() -> None:
    content = b"From me Mon Jan 1\n orphan: x\nno colon\nhas space: y\n: nameless\nA : b\n\n"

    assert [one[:2] for one in parse_header(content).fields] == [(b"a", b" b")]


def test_fields_of_the_body_are_not_fields() -> None:
    assert parse_header(b"A: b\n\nC: d\n").first(b"c") is None


def test_a_header_is_looked_at_up_to_its_limits() -> None:
    long = parse_header(b"A: " + b"x" * MAX_HEADER_OCTETS + b"\nB: c\n\nbody")
    many = parse_header(b"A: b\n" * (MAX_FIELDS + 1) + b"\n")
    exact = parse_header(b"A: b\n" * MAX_FIELDS + b"\n")

    assert (long.limited, long.first(b"b")) == ("header octets", None)
    assert long.end == MAX_HEADER_OCTETS + 3 + 1 + 5 + 1
    assert (many.limited, len(many.fields)) == ("header fields", MAX_FIELDS)
    assert exact.limited == ""
