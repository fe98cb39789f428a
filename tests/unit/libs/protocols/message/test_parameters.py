"""Parameters of Content-Type and Content-Disposition."""

from __future__ import annotations

import pytest

from libs.protocols.message.parameters import MAX_PARAMETERS, parameter, parse_value


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (b"text/plain; charset=utf-8", ((b"charset", b"utf-8"),)),
        (b'text/plain;NAME = "a \\"b\\".txt"', ((b"name", b'a "b".txt'),)),
        (b'text/plain; name="a;b"; x=y', ((b"name", b"a;b"), (b"x", b"y"))),
        (b"text/plain; charset=us-ascii (plain text)", ((b"charset", b"us-ascii"),)),
        (b"text/plain (a comment); a=b", ((b"a", b"b"),)),
        (b"text/plain; name=two words.txt ; x", ((b"name", b"two words.txt"),)),
        (b'text/plain; name="open', ((b"name", b"open"),)),
        (b"text/plain; a=1; A=2", ((b"a", b"1"),)),
        (b"text/plain;;; a=;", ((b"a", b""),)),
        (b"text/plain", ()),
    ],
)
def test_parameters_are_read_as_they_are_meant(
    value: bytes, pairs: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert parse_value(value) == (b"text/plain", pairs, True)


def test_continuations_are_joined_in_their_order() -> None:
    """RFC 2231 §3; IMAP servers must do this (§6)."""
    _, pairs, _ = parse_value(b'message/external-body; URL*1="b.html"; access=x; URL*0="ftp://a/"')

    assert pairs == ((b"access", b"x"), (b"url", b"ftp://a/b.html"))


def test_extended_continuations_stay_extended_and_decode() -> None:
    """The example of RFC 2231 §4.1."""
    _, pairs, _ = parse_value(
        b"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;"
        b' title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn\'t it!"'
    )

    assert pairs[0][0] == b"title*"
    assert parameter(pairs, b"title") == "This is even more ***fun*** isn't it!"


def test_a_plain_first_section_is_not_taken_for_a_charset() -> None:
    _, pairs, _ = parse_value(b"x/y; a*0=it's; a*1*=%20'it'")

    assert parameter(pairs, b"a") == "it's 'it'"


def test_the_extended_form_of_a_parameter_wins() -> None:
    _, pairs, _ = parse_value(b"x/y; filename=plain.txt; filename*=utf-8''%C3%A9.txt")

    assert parameter(pairs, b"filename") == "é.txt"
    assert parameter(pairs, b"name") == ""


def test_encoded_words_in_parameters_are_decoded() -> None:
    _, pairs, _ = parse_value(b'x/y; name="=?utf-8?q?=C3=A9?=.txt"')

    assert parameter(pairs, b"name") == "é.txt"


def test_only_so_many_parameters_are_looked_at() -> None:
    value = b"x/y" + b"".join(b";a%d=b" % number for number in range(MAX_PARAMETERS))

    assert parse_value(value)[2]
    _, pairs, complete = parse_value(value + b"; more=x")
    assert (len(pairs), complete) == (MAX_PARAMETERS, False)
