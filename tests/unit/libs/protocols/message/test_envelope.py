"""ENVELOPE in wire form."""

from __future__ import annotations

from libs.protocols.message.address import MAX_ADDRESSES
from libs.protocols.message.envelope import envelope
from libs.protocols.message.header import parse_header


def wire(section: bytes) -> bytes:
    return envelope(parse_header(section)).wire


def test_the_example_of_the_standard() -> None:
    """RFC 3501 §8, with the header that it is of."""
    section = (
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
        b"From: Terry Gray <gray@cac.washington.edu>\r\n"
        b"Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
        b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
        b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n"
    )

    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert wire(section) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        + b" ".join([gray] * 3)
        + b' ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))'
        b' NIL NIL "<B27397-0100000@cac.washington.edu>")'
    )


def test_an_empty_header_is_all_nil() -> None:
    assert wire(b"\r\n") == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


def test_sender_and_reply_to_are_from_only_where_they_are_absent_or_empty() -> None:
    result = wire(b"From: a@b\nSender: \nReply-To: c@d\n\n")

    a, c = b'((NIL NIL "a" "b"))', b'((NIL NIL "c" "d"))'
    assert result == b"(NIL NIL %b %b %b NIL NIL NIL NIL NIL)" % (a, a, c)


def test_an_empty_subject_is_not_nil() -> None:
    assert wire(b"Subject:\nIn-Reply-To: <x@y>\n\n") == (
        b'(NIL "" NIL NIL NIL NIL NIL NIL "<x@y>" NIL)'
    )


def test_all_to_fields_were_addressed_but_only_the_first_from_is_the_author() -> None:
    shown = envelope(parse_header(b"From: a@b\nFrom: c@d\nTo: e@f\nTo: g@h\n\n"))

    assert [one.address for one in shown.author] == ["a@b"]
    assert b'((NIL NIL "e" "f")(NIL NIL "g" "h"))' in shown.wire
    assert b'"c"' not in shown.wire


def test_groups_have_a_start_and_an_end() -> None:
    assert b'((NIL NIL "Us" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL))' in wire(b"To: Us: a@b;\n\n")


def test_an_address_without_a_domain_is_no_group_mark() -> None:
    assert b'((NIL NIL "root" ""))' in wire(b"To: root\n\n")


def test_raw_octets_are_literals_and_stay_undecoded() -> None:
    assert wire(b"Subject: gr\xfcn\0\n\n").startswith(b"(NIL {4}\r\ngr\xfcn NIL")
    assert b'"=?utf-8?q?x?="' in wire(b"Subject: =?utf-8?q?x?=\n\n")


def test_a_list_that_is_too_long_is_cut_and_reported() -> None:
    section = b"To: " + b"a@b," * (MAX_ADDRESSES + 1) + b"\n\n"

    shown = envelope(parse_header(section))

    assert shown.cut
    assert shown.wire.count(b'"a"') == MAX_ADDRESSES
    assert not envelope(parse_header(b"To: a@b\n\n")).cut
