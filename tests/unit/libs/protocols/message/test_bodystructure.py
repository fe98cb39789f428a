"""BODYSTRUCTURE and BODY in wire form."""

from __future__ import annotations

from libs.protocols.message.bodystructure import Wire, render
from libs.protocols.message.mime import scan


def both(content: bytes) -> Wire:
    return render(scan(content).root)


def test_a_text_has_its_size_and_lines() -> None:
    wire = both(b"Content-Type: text/plain; charset=utf-8\r\n\r\none\r\ntwo\r\n")

    assert wire.body == b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 10 2)'
    assert wire.bodystructure == (
        b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 10 2 NIL NIL NIL NIL)'
    )


def test_a_file_has_all_that_its_fields_say() -> None:
    wire = both(
        b'Content-Type: image/png\nContent-ID: <1@x>\nContent-Description: a "b"\n'
        b"Content-Transfer-Encoding: base64\nContent-MD5: Q2hlY2s=\nContent-Language: de, en\n"
        b"Content-Location: http://x/\nContent-Disposition: attachment; filename=p.png\n\nQUJD\n"
    )

    start = b'("IMAGE" "PNG" NIL "<1@x>" "a \\"b\\"" "BASE64" 5'
    assert wire.body == start + b")"
    assert wire.bodystructure == start + (
        b' "Q2hlY2s=" ("ATTACHMENT" ("FILENAME" "p.png")) ("de" "en") "http://x/")'
    )


def test_a_multipart_has_its_parts_side_by_side() -> None:
    wire = both(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\none\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--"
    )

    text = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 3 0'
    assert wire.body == b"(" + text + b')("A" "B" NIL NIL NIL "7BIT" 1) "MIXED")'
    assert wire.bodystructure == (
        b"(" + text + b' NIL NIL NIL NIL)("A" "B" NIL NIL NIL "7BIT" 1 NIL NIL NIL NIL)'
        b' "MIXED" ("BOUNDARY" "b") NIL NIL NIL)'
    )


def test_an_embedded_message_has_envelope_structure_and_lines() -> None:
    wire = both(b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhello\r\n")

    inside = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 7 1'
    start = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 22 '
    shown = b'(NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
    assert wire.body == start + shown + inside + b") 3)"
    assert wire.bodystructure == start + shown + inside + b" NIL NIL NIL NIL) 3 NIL NIL NIL NIL)"


def test_other_messages_are_plain_files() -> None:
    """Clients of IMAP4rev1 expect an envelope of message/rfc822 alone."""
    for subtype in (b"global", b"delivery-status"):
        wire = both(b"Content-Type: message/" + subtype + b"\n\nSubject: x\n\ny")
        assert wire.body == b'("MESSAGE" "%b" NIL NIL NIL "7BIT" 13)' % subtype.upper()


def test_a_parameter_with_other_octets_is_a_literal() -> None:
    assert b'("NAME" {2}\r\n\xc3\xa9)' in both(b"Content-Type: a/b; name=\xc3\xa9\n\n").body


def test_an_address_list_cut_inside_is_reported_outside() -> None:
    content = b"Content-Type: message/rfc822\n\nTo: " + b"a@b," * 3_000 + b"\n\n"

    assert both(content).cut
