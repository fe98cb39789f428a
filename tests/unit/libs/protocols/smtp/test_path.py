"""Paths (RFC 5321 §4.1.2), and what pretends to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.smtp.path import Path, PathError, parse_path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<a@b.example>", "a@b.example"),
        ("<A.b+c@B.Example>", "A.b+c@b.example"),
        ("<a@b.example.>", "a@b.example"),
        ("<@x.example,@y.example:a@b.example>", "a@b.example"),
        ('<"a"@b.example>', "a@b.example"),
        ('<"a b"@b.example>', '"a b"@b.example'),
        ('<"a\\@b"@b.example>', '"a\\@b"@b.example'),
        ("<a@[127.0.0.1]>", "a@[127.0.0.1]"),
        ("<a@[IPv6:::1]>", "a@[ipv6:::1]"),
        ("<jösé@пример.example>", "jösé@пример.example"),
        ("<Postmaster>", "Postmaster"),
        ("<" + "x" * 64 + "@b.example>", "x" * 64 + "@b.example"),
    ],
)
def test_a_path_is_an_address(text: str, address: str) -> None:
    assert parse_path(text)[0].address == address


@pytest.mark.parametrize(
    "text",
    [
        "a@b.example",
        "<a@b.example",
        "<a>",
        "<@b.example>",
        "<a@>",
        "<a@b..example>",
        "<a@-b.example>",
        "<.a@b.example>",
        "<a..b@b.example>",
        "<a b@b.example>",
        "<a@b@c.example>",
        "<a@b.example>SIZE=1",
        "<a\r\nRCPT TO:<x@y>@b.example>",
        "<a\0@b.example>",
        '<"a\nb"@b.example>',
        '<"a\x7f"@b.example>',
        "<a@b.example\x00>",
        "<" + "x" * 65 + "@b.example>",
        "<a@" + "b" * 252 + ".com>",
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """S7: no control character gets into an address (CVE-2020-7247, CVE-2019-10149)."""
    with pytest.raises(PathError):
        parse_path(text, null=True)


def test_the_null_path_is_for_mail_only() -> None:
    assert parse_path("<> RET=HDRS", null=True) == (Path(), "RET=HDRS")
    with pytest.raises(PathError):
        parse_path("<>")


def test_what_follows_is_given_back() -> None:
    assert parse_path("<a@b.example>  SIZE=1 BODY=7BIT")[1] == "SIZE=1 BODY=7BIT"


def test_ascii_needs_no_smtputf8() -> None:
    assert Path("a", "b.example").is_ascii
    assert not Path("ä", "b.example").is_ascii
    assert not Path("a", "ü.example").is_ascii


@pytest.mark.parametrize(("octets", "fine"), [(254, True), (255, True), (256, False)])
def test_a_domain_has_at_most_255_octets(octets: int, fine: bool) -> None:
    text = "<a@" + ("b." * octets)[: octets - 1] + "c>"
    assert len(text) == octets + 4

    if fine:
        assert len(parse_path(text)[0].domain) == octets
    else:
        with pytest.raises(PathError, match="255"):
            parse_path(text)


@given(st.text(max_size=80))
def test_no_path_holds_a_control_character(text: str) -> None:
    try:
        path, _ = parse_path(f"<{text}>", null=True)
    except PathError:
        return
    assert path.address.isprintable() or not path.address.isascii()
    assert not set(path.address) & {chr(n) for n in range(32)}
