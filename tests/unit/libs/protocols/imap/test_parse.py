"""The grammar: what is right is read, what is wrong is said."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.imap.fetch import parse_items
from libs.protocols.imap.list import parse_list
from libs.protocols.imap.parse import LAST, MAX_SET, ParseError, Parser
from libs.protocols.imap.search import parse_search


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"abc", b"abc"),
        (b"a]b", b"a]b"),
        (b'"a b"', b"a b"),
        (b'"a\\"b\\\\"', b'a"b\\'),
        (b'""', b""),
        (b"{3}\r\na\nb", b"a\nb"),
        (b"{3+}\r\na\0b", b"a\0b"),
        (b"~{2}\r\nab", b"ab"),
        (b'"\xc3\xa4"', "ä".encode()),
    ],
)
def test_an_astring_is_an_atom_a_quoted_string_or_a_literal(raw: bytes, value: bytes) -> None:
    parser = Parser(raw)

    assert parser.astring() == value
    parser.end()


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"(", b'"abc', b'"a\0b"', b'"a\rb"', b'"a\\b"', b"{x}\r\n", b"%", b"\x80"]
)
def test_what_is_no_astring_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        Parser(raw).astring()


def test_a_string_is_no_atom() -> None:
    assert Parser(b'"x"').string() == b"x"
    with pytest.raises(ParseError, match="string"):
        Parser(b"x").string()


@pytest.mark.parametrize(("raw", "value"), [(b"NIL", None), (b"nil", None), (b'"NIL"', b"NIL")])
def test_nil_is_no_string(raw: bytes, value: bytes | None) -> None:
    assert Parser(raw).nstring() == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"1", ((1, 1),)),
        (b"*", ((LAST, LAST),)),
        (b"3:1", ((1, 3),)),
        (b"*:5", ((5, LAST),)),
        (b"1:*,7,9:8", ((1, LAST), (7, 7), (8, 9))),
    ],
)
def test_a_set_becomes_ranges(raw: bytes, value: object) -> None:
    assert Parser(raw).sequence_set() == value


@pytest.mark.parametrize("raw", [b"0", b"a", b",1", b":1"])
def test_what_is_no_set_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        Parser(raw).sequence_set()


def test_a_set_is_bounded() -> None:
    with pytest.raises(ParseError, match="ranges"):
        Parser(b",".join([b"1"] * (MAX_SET + 1))).sequence_set()


def test_a_number_is_bounded() -> None:
    assert Parser(b"%d" % (2**63 - 1)).number() == 2**63 - 1
    with pytest.raises(ParseError, match="large"):
        Parser(b"%d" % 2**63).number()


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (b"(\\Seen $Work)", ["\\Seen", "$Work"]),
        (b"()", []),
        (b"\\Seen \\Deleted", ["\\Seen", "\\Deleted"]),
    ],
)
def test_flags_come_with_and_without_parentheses(raw: bytes, names: list[str]) -> None:
    assert Parser(raw).flags() == names


@pytest.mark.parametrize("raw", [b"(\\Seen", b'("x")', b"(\\Seen\\Deleted)", b"{3}"])
def test_broken_flags_are_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        Parser(raw).flags()


def test_a_command_is_read_from_left_to_right() -> None:
    parser = Parser(b'a1 lIsT "" *\r\n')

    assert parser.tag() == "a1"
    parser.space()
    assert parser.atom() == "LIST"
    parser.expect(b" ")
    assert parser.mailbox() == ""
    parser.space()
    assert not parser.at_end()
    assert parser.pattern() == "*"
    assert parser.at_end()


def test_a_pattern_may_be_quoted() -> None:
    assert Parser(b'"a %"').pattern() == "a %"


def test_the_reason_of_a_refusal_says_where() -> None:
    with pytest.raises(ParseError, match="expected a space at octet 0"):
        Parser(b"x").space()
    with pytest.raises(ParseError, match=r"expected '\(' at octet 0"):
        Parser(b"x").expect(b"(")
    with pytest.raises(ParseError, match="unexpected text at octet 0"):
        Parser(b"x\n").end()


def test_the_rest_is_all_up_to_the_line_break() -> None:
    parser = Parser(b"a b c\r\n")
    parser.tag()

    assert parser.rest() == b" b c"
    assert parser.at_end()


def test_what_does_not_match_is_not_read() -> None:
    import re

    parser = Parser(b"ab")

    assert parser.try_match(re.compile(b"x")) is None
    assert parser.try_match(re.compile(b"a")) is not None
    assert parser.rest() == b"b"


@pytest.mark.parametrize(
    ("raw", "answer"), [(b"1", True), (b"*", True), (b"A", False), (b"", False)]
)
def test_a_set_is_known_by_its_first_sign(raw: bytes, answer: bool) -> None:
    assert Parser(raw).digit_next() is answer


WORDS = st.lists(
    st.sampled_from(
        [b"1", b"(", b")", b" ", b"ALL", b"BODY[", b"]", b"<", b">", b"HEADER.FIELDS", b'"', b"\\",
         b"NOT ", b"OR ", b"UID ", b"*", b"%", b"{1+}\r\n", b"RETURN (", b"STATUS", b"1:*", b".",
         b"SINCE ", b"1-Feb-2026", b"KEYWORD ", b"FLAGS", b"SUBSCRIBED", b"MODSEQ "]
    ) | st.binary(max_size=4),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(WORDS)
def test_no_octets_raise_anything_but_a_parse_error(raw: bytes) -> None:
    """Whatever a client sends, the answer is BAD and the reason, never a fault of ours (M2)."""
    readers = (
        parse_items, parse_search, parse_list, Parser.flags, Parser.sequence_set, Parser.mailbox,
        Parser.nstring, Parser.tag, Parser.number,
    )  # fmt: skip
    for read in readers:
        for text in (raw, b" " + raw):
            with contextlib.suppress(ParseError):
                read(Parser(text + b"\r\n"))
