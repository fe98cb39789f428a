"""What FETCH asks for."""

from __future__ import annotations

import pytest

from libs.protocols.imap.fetch import (
    MAX_FIELDS,
    MAX_ITEMS,
    Binary,
    Modifiers,
    Section,
    parse_items,
    parse_modifiers,
    parse_unchangedsince,
)
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.partial import Partial


@pytest.mark.parametrize(
    ("raw", "items"),
    [
        (b"ALL", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")),
        (b"fast", ("FLAGS", "INTERNALDATE", "RFC822.SIZE")),
        (b"FULL", ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY")),
        (b"UID", ("UID",)),
        (b"()", ()),
        (b"(UID body BODYSTRUCTURE)", ("UID", "BODY", "BODYSTRUCTURE")),
        (b"BODY[]", (Section(b"BODY[]", ""),)),
        (b"BODY.PEEK[1.2.MIME]", (Section(b"BODY[1.2.MIME]", "1.2.MIME", peek=True),)),
        (b"BODY[1.2]", (Section(b"BODY[1.2]", "1.2"),)),
        (b"BODY[text]<5.10>", (Section(b"BODY[TEXT]<5>", "TEXT", start=5, count=10),)),
        (b"RFC822", (Section(b"RFC822", ""),)),
        (b"RFC822.HEADER", (Section(b"RFC822.HEADER", "HEADER", peek=True),)),
        (b"RFC822.TEXT", (Section(b"RFC822.TEXT", "TEXT"),)),
        (
            b'BODY[HEADER.FIELDS (Subject "From")]',
            (Section(b"BODY[HEADER.FIELDS (Subject From)]", "HEADER", (b"subject", b"from")),),
        ),
        (
            b"BODY[2.HEADER.FIELDS.NOT (To)]",
            (Section(b"BODY[2.HEADER.FIELDS.NOT (To)]", "2.HEADER", (b"to",), True),),
        ),
    ],
)
def test_each_item_is_known(raw: bytes, items: object) -> None:
    assert parse_items(Parser(raw)) == items


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"NONSENSE", b"(UID", b"(UID,FLAGS)", b"BODY[", b"BODY[1", b"BODY[0]", b"BODY[1.]",
        b"BODY[1TEXT]", b"BODY[x]", b"BODY[]<1>", b"BODY[]<1.2", b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS (a b]", b"BODY[HEADER.FIELDS (a(b)]", b"(ALL)",
        b'BODY[HEADER.FIELDS ("a b")]', b"BODY[HEADER.FIELDS ({2}\r\n\r\n)]",
    ],
)  # fmt: skip
def test_what_is_no_item_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse_items(Parser(raw))


def test_items_are_bounded() -> None:
    parse_items(Parser(b"(" + b" ".join([b"UID"] * MAX_ITEMS) + b")"))
    with pytest.raises(ParseError, match="items"):
        parse_items(Parser(b"(" + b" ".join([b"UID"] * (MAX_ITEMS + 1)) + b")"))


def test_fields_are_bounded() -> None:
    fields = b" ".join([b"x"] * (MAX_FIELDS + 1))
    with pytest.raises(ParseError, match="fields"):
        parse_items(Parser(b"BODY[HEADER.FIELDS (" + fields + b")]"))


@pytest.mark.parametrize(
    ("raw", "modifiers"),
    [
        (b"", Modifiers()),
        (b" (CHANGEDSINCE 12)", Modifiers(12)),
        (b" (CHANGEDSINCE 12 VANISHED)", Modifiers(12, True)),
        (b" (partial 5:3)", Modifiers(partial=Partial(3, 5))),
        (b" (PARTIAL -1:-30 CHANGEDSINCE 1)", Modifiers(1, partial=Partial(1, 30, True))),
    ],
)
def test_modifiers_bound_what_is_fetched(raw: bytes, modifiers: Modifiers) -> None:
    assert parse_modifiers(Parser(raw)) == modifiers


@pytest.mark.parametrize(
    "raw",
    [b" (VANISHED)", b" ()", b" (CHANGEDSINCE x)", b" (PARTIAL 1:-3)", b" (PARTIAL 0:3)", b" (X)"],
)
def test_modifiers_that_make_no_sense_are_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse_modifiers(Parser(raw))


@pytest.mark.parametrize(
    ("raw", "item"),
    [
        (b"BINARY[1.2]", Binary(b"BINARY[1.2]", "1.2")),
        (b"binary.peek[]<3.4>", Binary(b"BINARY[]<3>", "", True, False, 3, 4)),
        (b"BINARY.SIZE[1]", Binary(b"BINARY.SIZE[1]", "1", True, True)),
    ],
)
def test_binary_parts_are_asked_for(raw: bytes, item: Binary) -> None:
    assert parse_items(Parser(raw)) == (item,)


@pytest.mark.parametrize("raw", [b"BINARY[TEXT]", b"BINARY[1.]", b"BINARY", b"BINARY.SIZE[0]"])
def test_binary_takes_part_numbers_only(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse_items(Parser(raw))


def test_a_preview_may_be_lazy() -> None:
    assert parse_items(Parser(b"(UID PREVIEW (LAZY) FLAGS)")) == ("UID", "PREVIEW", "FLAGS")


def test_a_modifier_makes_a_store_conditional() -> None:
    assert parse_unchangedsince(Parser(b"(unchangedsince 0) FLAGS")) == 0
    assert parse_unchangedsince(Parser(b"FLAGS")) is None
    with pytest.raises(ParseError):
        parse_unchangedsince(Parser(b"(UNCHANGEDSINCE x) FLAGS"))
