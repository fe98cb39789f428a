"""What FETCH asks for."""

from __future__ import annotations

import pytest

from libs.protocols.imap.fetch import (
    MAX_FIELDS,
    MAX_ITEMS,
    Section,
    parse_changedsince,
    parse_items,
    parse_unchangedsince,
)
from libs.protocols.imap.parse import ParseError, Parser


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


def test_a_modifier_bounds_what_is_fetched() -> None:
    assert parse_changedsince(Parser(b" (CHANGEDSINCE 12)")) == 12
    assert parse_changedsince(Parser(b"")) is None
    with pytest.raises(ParseError):
        parse_changedsince(Parser(b" (CHANGEDSINCE 12 VANISHED)"))


def test_a_modifier_makes_a_store_conditional() -> None:
    assert parse_unchangedsince(Parser(b"(unchangedsince 0) FLAGS")) == 0
    assert parse_unchangedsince(Parser(b"FLAGS")) is None
    with pytest.raises(ParseError):
        parse_unchangedsince(Parser(b"(UNCHANGEDSINCE x) FLAGS"))
