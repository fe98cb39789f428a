"""Address lists, as they should be and as they come."""

from __future__ import annotations

import pytest

from libs.protocols.message.address import (
    GROUP_END,
    MAX_ADDRESSES,
    MAX_TOKENS,
    Address,
    parse_addresses,
)


def only(value: bytes | str) -> Address:
    (address,) = parse_addresses(value).addresses
    return address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.example", (b"", b"", b"a", b"b.example")),
        (b"<a@b.example>", (b"", b"", b"a", b"b.example")),
        (b"Ann Lee <a@b>", (b"Ann Lee", b"", b"a", b"b")),
        (b"Ann\r\n Lee <a@b>", (b"Ann Lee", b"", b"a", b"b")),
        (b'"Lee, Ann" <a@b>', (b"Lee, Ann", b"", b"a", b"b")),
        (b'"a \\"b\\"" <a@b>', (b'a "b"', b"", b"a", b"b")),
        (b'"Ann" Lee <a@b>', (b"Ann Lee", b"", b"a", b"b")),
        (b"Ann O. Lee <a@b>", (b"Ann O. Lee", b"", b"a", b"b")),
        (b"=?utf-8?q?=C3=A9?= <a@b>", (b"=?utf-8?q?=C3=A9?=", b"", b"a", b"b")),
        (b"a@b (Ann Lee)", (b"Ann Lee", b"", b"a", b"b")),
        (b"a@b (Ann (the \\) one) Lee)", (b"Ann (the ) one) Lee", b"", b"a", b"b")),
        (b"(c) Ann (d) <a@b> (e)", (b"Ann", b"", b"a", b"b")),
        (b"(c) Ann <a@b> ()", (b"Ann", b"", b"a", b"b")),
        (b'"john doe"@b', (b"", b"", b"john doe", b"b")),
        (b'X <"john@doe"@b>', (b"X", b"", b"john@doe", b"b")),
        (b"a@[192.0.2.1]", (b"", b"", b"a", b"[192.0.2.1]")),
        (b"<@r1,@r2:a@b>", (b"", b"@r1,@r2", b"a", b"b")),
        (b"<a:b@c>", (b"", b"", b"a:b", b"c")),
        (b"a . b @ c . d", (b"a .", b"", b"b", b"c.d")),
        (b"Ann a@b", (b"Ann", b"", b"a", b"b")),
        (b"a@b@c", (b"", b"", b"a@b", b"c")),
        (b"<a@b@c>", (b"", b"", b"a@b", b"c")),
        (b"@b", (b"", b"", b"", b"b")),
        (b"root", (b"", b"", b"root", b"")),
        (b"Ann <root>", (b"Ann", b"", b"root", b"")),
        (b"Ann <>", (b"Ann", b"", b"", b"")),
        (b"Ann <a@b", (b"Ann", b"", b"a", b"b")),
        (b'"Ann <a@b>', (b"", b"", b"Ann <a@b>", b"")),
        (b"a@b> )", (b"", b"", b"a", b"b")),
        (b"a@b:c", (b"", b"", b"a", b"b:c")),
        (b"a\0@b", (b"", b"", b"a", b"b")),
    ],
)
def test_one_address_is_understood(value: bytes, expected: tuple[bytes, ...]) -> None:
    assert only(value) == expected


def test_what_is_in_angle_brackets_is_the_address() -> None:
    """A display name that looks like an address must not be taken for the author."""
    address = only(b"boss@good.example <thief@evil.example>")

    assert address == (b"boss@good.example", b"", b"thief", b"evil.example")


def test_the_first_angle_brackets_count() -> None:
    assert only(b"x <a@b> <c@d>").address == "a@b"


def test_lists_are_split_at_commas_and_by_the_careless_at_semicolons() -> None:
    parsed = parse_addresses(b"a@b, ,, Ann <c@d>; (x) e@f,")

    assert [one.address for one in parsed.addresses] == ["a@b", "c@d", "e@f"]


def test_a_group_has_marks_around_its_members() -> None:
    parsed = parse_addresses(b"A Group:Ed <e@f>, g@h;, i@j")

    assert parsed.addresses == (
        Address(b"", b"", b"A Group", None),
        Address(b"Ed", b"", b"e", b"f"),
        Address(b"", b"", b"g", b"h"),
        GROUP_END,
        Address(b"", b"", b"i", b"j"),
    )
    assert [one.address for one in parsed.addresses] == ["", "e@f", "g@h", "", "i@j"]


@pytest.mark.parametrize("value", [b"undisclosed-recipients:;", b"undisclosed-recipients:"])
def test_an_empty_group_is_closed(value: bytes) -> None:
    assert parse_addresses(value).addresses == (
        Address(b"", b"", b"undisclosed-recipients", None),
        GROUP_END,
    )


def test_a_comment_beside_a_group_is_no_member() -> None:
    """Sendmail writes this when a message came without a To field."""
    addresses = parse_addresses(b"unlisted-recipients:(none); (no To-header on input)").addresses

    assert addresses == (Address(b"", b"", b"unlisted-recipients", None), GROUP_END)


def test_groups_do_not_nest() -> None:
    addresses = parse_addresses(b"a: b: c@d;").addresses

    assert [one.domain is None for one in addresses] == [True, False, True]


@pytest.mark.parametrize("value", [b"", b"  ", b",,;", b" \r\n ", b"(nobody)", b"(open a@b"])
def test_nothing_is_no_address(value: bytes) -> None:
    assert parse_addresses(value).addresses == ()


def test_text_is_taken_as_well_as_octets() -> None:
    assert only("Änn <ä@b>").address == "ä@b"
    assert only("a\udc80 <a@b>").address == "a@b"


def test_only_so_many_addresses_are_read() -> None:
    parsed = parse_addresses(b"a@b," * (MAX_ADDRESSES + 1))

    assert len(parsed.addresses) == MAX_ADDRESSES
    assert parsed.limited
    assert not parse_addresses(b"a@b," * MAX_ADDRESSES).limited


@pytest.mark.parametrize("piece", [b"a ", b"<", b"@", b'""', b'"a"', b"(", b"()", b"a:;", b")"])
def test_odd_lists_are_read_up_to_a_number_of_tokens(piece: bytes) -> None:
    parsed = parse_addresses(piece * (MAX_TOKENS + 10))

    assert parsed.limited
