"""One reading of From, and none where there could be two."""

from __future__ import annotations

import pytest

from libs.protocols.message.author import MAX_OCTETS, read_author
from libs.protocols.message.header import parse_header


def domain(*fields: bytes) -> str:
    header = b"".join(b"From: " + field + b"\r\n" for field in fields)
    return read_author(parse_header(header + b"\r\n")).domain


@pytest.mark.parametrize(
    "field",
    [
        b"a@good.example",
        b"A <a@Good.Example>",
        b'"A, B" <a@good.example>',
        b'"a@evil.example" <a@good.example>',
        b"(a@evil.example) a@good.example",
        b"a@good.example (comment (nested \\) ) )",
        b"A <a@good.example>, B <b@good.example>",
        b'"odd\\" one" <a@good.example.>',
        b"=?utf-8?q?a=40evil=2Eexample?= <a@good.example>",
        b"Group: a@good.example, b@good.example;",
        b"A\r\n <a@good.example>",
    ],
)
def test_the_usual_forms_are_read(field: bytes) -> None:
    assert domain(field) == "good.example"


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"nobody",
        b"a@good.example, b@evil.example",
        b"a@good.example <b@evil.example>",
        b"<a@good.example><b@evil.example>",
        b"<a@good.example> b@evil.example",
        b"<@evil.example:a@good.example>",
        b"a@evil.example@good.example",
        b'"a@good.example <b@evil.example>',
        b'A"<a@good.example>"<b@evil.example',
        b"(a@good.example <b@evil.example>",
        b"a@good.example\0.evil.example",
        b"a@good.example\r b@evil.example",
        b"a@[192.0.2.1]",
        b"a@",
        b"@good.example",
        b"a@good..example",
        b"a@good.example;b@evil.example",
        b"a@\xffgood.example",
        b"Undisclosed:;",
        b"x" * MAX_OCTETS + b" <a@good.example>",
        b", ".join([b"a@good.example"] * 200),
    ],
)
def test_what_can_be_read_in_two_ways_has_no_author(field: bytes) -> None:
    assert domain(field) == ""


def test_two_fields_have_no_author() -> None:
    assert domain(b"a@good.example", b"a@good.example") == ""
    author = read_author(parse_header(b"from: a@good.example\r\nFROM : b@evil.example\r\n\r\n"))
    assert "2 From fields" in author.reason


def test_no_field_is_told_from_a_wrong_one() -> None:
    assert read_author(parse_header(b"To: a@good.example\r\n\r\n")).missing
    assert not read_author(parse_header(b"From: \r\n\r\n")).missing


def test_an_international_domain_stays_as_it_is() -> None:
    assert domain("a@bücher.example".encode()) == "bücher.example"
