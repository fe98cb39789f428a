"""Mailbox names, patterns, LIST, and the writing of responses."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.imap import write
from libs.protocols.imap.list import MAX_PATTERNS, List, parse_list, parse_lsub, parse_status_items
from libs.protocols.imap.mutf7 import decode_name, encode_name
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.pattern import MAX_WILDCARDS, matches

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("A&B", b"A&-B"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("😀", b"&2D3eAA-"),
    ],
)
def test_names_travel_in_modified_utf7(name: str, wire: bytes) -> None:
    assert encode_name(name) == wire
    assert decode_name(wire) == name


@given(NAMES)
def test_any_name_comes_back_as_it_went(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("Entwürfe".encode(), "Entwürfe"),
        (b"\xff", "ÿ"),
        (b"&2D0-", "&2D0-"),
        (b"&A-", "&A-"),
        (b"a & b", "a & b"),
    ],
)
def test_what_is_no_modified_utf7_is_taken_as_it_is(wire: bytes, name: str) -> None:
    assert decode_name(wire) == name


@given(st.binary(max_size=30))
def test_no_octets_break_the_reading_of_a_name(raw: bytes) -> None:
    assert isinstance(decode_name(raw), str)


@pytest.mark.parametrize(
    ("pattern", "name", "answer"),
    [
        ("*", "a/b", True), ("%", "a", True), ("%", "a/b", False), ("%/%", "a/b", True),
        ("a*", "a/b", True), ("a%", "a/b", False), ("*b", "a/b", True), ("a", "ab", False),
        ("ab", "a", False), ("", "", True), ("**%", "a/b", True), ("%%", "a/b", False),
        ("*", "", True),
        ("a.b", "axb", False), ("[a]", "a", False),
    ],
)  # fmt: skip
def test_a_star_is_anything_and_a_percent_stays_in_its_level(
    pattern: str, name: str, answer: bool
) -> None:
    assert matches(pattern, name) is answer


@given(st.text("ab/*%", max_size=10), st.text("ab/", max_size=12))
def test_patterns_match_what_a_regular_expression_would(pattern: str, name: str) -> None:
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(c, re.escape(c)) for c in pattern)

    assert matches(pattern, name) is bool(re.fullmatch(expression, name, re.DOTALL))


def test_a_pattern_of_wildcards_takes_linear_time() -> None:
    """LIST "%*%*..." was a denial of service elsewhere (M3)."""
    pattern, name = "%a*b" * 250, "ab/" * 160

    start = time.process_time()
    matches(pattern, name)

    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b' "" *', List("", ("*",))),
        (b' "a/" "%"', List("a/", ("%",))),
        (b" () x y", List("x", ("y",), extended=True)),
        (b' "" (a "b c")', List("", ("a", "b c"), extended=True)),
        (
            b' (SUBSCRIBED RECURSIVEMATCH) "" * RETURN (CHILDREN STATUS (UNSEEN SIZE) SPECIAL-USE)',
            List(
                "", ("*",), frozenset({"SUBSCRIBED", "RECURSIVEMATCH"}),
                frozenset({"CHILDREN", "SPECIAL-USE"}), ("UNSEEN", "SIZE"), extended=True,
            ),
        ),
        (b' "" * return ()', List("", ("*",), extended=True)),
    ],
)  # fmt: skip
def test_list_has_an_old_and_an_extended_form(raw: bytes, value: List) -> None:
    assert parse_list(Parser(raw)) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"", b' ""', b' "" * x', b' (NONSENSE) "" *', b' (SUBSCRIBED "" *',
        b' (RECURSIVEMATCH) "" *',
        b' (RECURSIVEMATCH REMOTE) "" *', b' "" * RETURN (NONSENSE)', b' "" ()', b' "" (a',
        b' "" * RETURN (STATUS)', b' "" * RETURN (STATUS (NONSENSE))', b' "" * RETURN (CHILDREN',
        b' (SUBSCRIBED,SPECIAL-USE) "" *',
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse_list(Parser(raw))


def test_wildcards_and_patterns_are_bounded() -> None:
    parse_list(Parser(b' "" ' + b"%a" * MAX_WILDCARDS))
    with pytest.raises(ParseError, match="wildcards"):
        parse_list(Parser(b' "" ' + b"%a" * (MAX_WILDCARDS + 1)))
    with pytest.raises(ParseError, match="patterns"):
        parse_list(Parser(b' "" (' + b" ".join([b"a"] * (MAX_PATTERNS + 1)) + b")"))


def test_lsub_is_a_list_of_the_subscribed() -> None:
    assert parse_lsub(Parser(b' "" *')) == List("", ("*",), frozenset({"SUBSCRIBED"}))


def test_status_items_come_once() -> None:
    assert parse_status_items(Parser(b"(UIDNEXT messages UIDNEXT)")) == ("UIDNEXT", "MESSAGES")
    assert parse_status_items(Parser(b"()")) == ()


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"abc", b"abc"), (b"", b'""'), (b"a b", b'"a b"'), (b'a"b\\', b'"a\\"b\\\\"'),
        (b"nil", b'"nil"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"), (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"), (b"a\0b", b"{2}\r\nab"),
        (b"x" * 1001 + b" ", b"{1002}\r\n" + b"x" * 1001 + b" "),
    ],
)  # fmt: skip
def test_a_string_is_written_in_the_form_that_suits_it(value: bytes, wire: bytes) -> None:
    assert write.astring(value) == wire


@given(st.binary(max_size=40))
def test_what_is_written_reads_back(value: bytes) -> None:
    assert Parser(write.astring(value)).astring() == value.replace(b"\0", b"")


@pytest.mark.parametrize(
    ("numbers", "wire"),
    [([], b""), ([1], b"1"), ([1, 2, 3], b"1:3"), ([1, 2, 4, 7, 8], b"1:2,4,7:8"), ([0], b"0")],
)
def test_numbers_are_written_in_ranges(numbers: list[int], wire: bytes) -> None:
    assert write.number_set(numbers) == wire


def test_names_and_flags_are_written_as_imap_does() -> None:
    assert write.mailbox("Entwürfe 1") == b'"Entw&APw-rfe 1"'
    assert write.flag_list(["\\Seen", "a"]) == b"(\\Seen a)"
    assert write.flag_list([]) == b"()"
