"""Encoded words and extended values."""

from __future__ import annotations

import pytest

from libs.protocols.message.words import MAX_WORDS, decode_base64, decode_extended, decode_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # The examples of RFC 2047 §8.
        (b"(=?ISO-8859-1?Q?a?=)", "(a)"),
        (b"(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a?=    =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        (b"=?utf-8?B?w6k=?= plain", "é plain"),
        (b"plain =?utf-8*fr?q?=C3=A9?=", "plain é"),
        (b"nothing encoded", "nothing encoded"),
        (b"gr\xc3\xbcn and gr\xc3\xbcn", "grün and grün"),
        (b"gr\xfcn", "grün"),
        (b"=?utf-8?q?has spaces inside?=", "has spaces inside"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"=?no-such?q?=C3=A9?=", "é"),
        (b"=?utf-8?b?****?=", ""),
        (b"=?*?q?x?=", "x"),
    ],
)
def test_encoded_words_are_decoded_and_others_left(value: bytes, text: str) -> None:
    assert decode_words(value) == text


def test_a_character_split_between_adjacent_words_is_put_together() -> None:
    assert decode_words(b"=?utf-8?q?=C3?= =?UTF-8?b?qQ==?=") == "é"


def test_only_so_many_words_are_decoded() -> None:
    text = decode_words(b"=?utf-8?q?a?= " * (MAX_WORDS + 1))

    assert text == "a" * MAX_WORDS + " =?utf-8?q?a?= "


@pytest.mark.parametrize(
    ("data", "octets"),
    [
        (b"QUJD", b"ABC"),
        (b"QUI", b"AB"),
        (b"QU JD\r\nQUI=", b"ABCAB"),
        (b"QUJDR", b"ABC"),
        (b"Q", b""),
        (b"\xff?", b""),
    ],
)
def test_base64_gives_what_can_be_had(data: bytes, octets: bytes) -> None:
    assert decode_base64(data) == octets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"utf-8'en'%C3%A9t%C3%A9", "été"),
        (b"iso-8859-1''%E9", "é"),
        (b"''%C3%A9", "é"),
        (b"no-such''%C3%A9", "é"),
        (b"%C3%A9", "é"),
        (b"it's", "it's"),
        (b"utf-8''%zz%", "%zz%"),
    ],
)
def test_extended_values_are_decoded(value: bytes, text: str) -> None:
    assert decode_extended(value) == text
