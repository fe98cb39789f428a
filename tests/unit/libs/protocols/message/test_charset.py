"""Character sets: names as mail writes them, and texts that a database takes."""

from __future__ import annotations

import pytest

from libs.protocols.message.charset import codec_of, decode_text, storable


@pytest.mark.parametrize(
    ("name", "octets", "text"),
    [
        ("UTF-8", b"\xc3\xa9", "é"),
        ("utf8", b"\xc3\xa9", "é"),
        ("ISO-8859-1", b"\x93\xe9", "“é"),
        ("windows-1251", b"\xcf", "П"),
        ("koi8-r", b"\xf0", "П"),
        ("KOI8-U", b"\xa4", "є"),
        ("ks_c_5601-1987", b"\xb0\xa1", "가"),
        ("gb2312", b"\xd6\xd0", "中"),
        ("x-gbk", b"\xd6\xd0", "中"),
        ("big5", b"\xa4\xa4", "中"),
        ("Shift_JIS", b"\x87\x40", "①"),
        ("windows-31j", b"\x87\x40", "①"),
        ("iso-2022-jp", b"\x1b$B\x46\x7c\x1b(B", "日"),
        ("iso-8859-8-i", b"\xe0", "א"),
        ("windows-874", b"\xa1", "ก"),
        ("x-mac-cyrillic", b"\x80", "А"),
        ("utf-7", b"+AOk-", "é"),
        ("cp-850", b"\x82", "é"),
    ],
)
def test_charsets_have_the_names_that_mail_uses(name: str, octets: bytes, text: str) -> None:
    assert decode_text(octets, name) == text


@pytest.mark.parametrize("name", ["", "us-ascii", "unknown-8bit", "x" * 500, "x\0f", "../os", "é"])
def test_octets_of_no_known_charset_are_utf_8_or_else_windows_1252(name: str) -> None:
    assert decode_text(b"\xc3\xa9", name) == "é"
    assert decode_text(b"\xe9", name) == "é"


@pytest.mark.parametrize("name", ["punycode", "idna", "zlib", "rot13", "unicode_escape", "hex"])
def test_codecs_that_are_no_charsets_are_unknown(name: str) -> None:
    """punycode takes quadratic time, idna raises, zlib makes large things of small ones."""
    assert codec_of(name) == ""


def test_faulty_sequences_become_replacement_characters() -> None:
    assert decode_text(b"a\xff", "utf-8") == "a\ufffd"


def test_storable_text_has_neither_nul_nor_lone_surrogates() -> None:
    assert storable("a\0b") == "ab"
    assert storable(decode_text(b"+2AA-x", "utf-7")) == "?x"
    assert storable("é🎉") == "é🎉"
