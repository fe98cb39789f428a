"""IMAP sections of the stored part tree: the example of RFC 3501 §6.4.5."""

from __future__ import annotations

import pytest

from libs.protocols.message.mime import scan
from libs.protocols.message.parts import encode_parts, find_part


def part(content_type: bytes, body: bytes) -> bytes:
    return b"Content-Type: " + content_type + b"\r\n\r\n" + body


def multi(boundary: bytes, *parts: bytes) -> bytes:
    inside = b"".join(b"--%b\r\n%b\r\n" % (boundary, one) for one in parts)
    return part(b"multipart/mixed; boundary=" + boundary, inside + b"--%b--\r\n" % boundary)


IN_3 = multi(b"in3", part(b"text/plain", b"3.1"), part(b"a/b", b"3.2"))
IN_4_2_2 = multi(b"x", part(b"text/plain", b"4.2.2.1"), part(b"text/richtext", b"4.2.2.2"))
IN_4 = b"Subject: four\r\n" + multi(b"in4", part(b"image/gif", b"4.1"), IN_4_2_2)
EXAMPLE = b"Subject: top\r\n" + multi(
    b"top",
    part(b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"1"),
    part(b"application/octet-stream", b"2"),
    part(b"message/rfc822", b"Subject: three\r\n" + IN_3),
    part(b"message/rfc822", IN_4),
)
ONE = b"Subject: one\r\n\r\nbody"


def section(content: bytes, name: str) -> bytes | None:
    span = find_part(encode_parts(scan(content).root), name)
    return None if span is None else content[span.start : span.end]


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("", EXAMPLE),
        ("HEADER", EXAMPLE[: EXAMPLE.index(b"--top")]),
        ("TEXT", EXAMPLE[EXAMPLE.index(b"--top") :]),
        ("1", b"1"),
        ("1.MIME", EXAMPLE[EXAMPLE.index(b"--top\r\n") + 7 : EXAMPLE.index(b"1\r\n--top")]),
        ("2", b"2"),
        ("3", b"Subject: three\r\n" + IN_3),
        ("3.MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ("3.header", b"Subject: three\r\n" + IN_3[: IN_3.index(b"--in3")]),
        ("3.TEXT", IN_3[IN_3.index(b"--in3") :]),
        ("3.1", b"3.1"),
        ("3.1.MIME", b"Content-Type: text/plain\r\n\r\n"),
        ("3.2", b"3.2"),
        ("4.1", b"4.1"),
        ("4.2", IN_4_2_2[IN_4_2_2.index(b"--x") :]),
        ("4.2.1", b"4.2.2.1"),
        ("4.2.2", b"4.2.2.2"),
    ],
)
def test_sections_are_numbered_as_the_standard_says(name: str, octets: bytes) -> None:
    found = section(EXAMPLE, name)

    assert found is not None
    # An embedded message that ends with a line break shares it with the delimiter line.
    assert found in (octets, octets.removesuffix(b"\r\n")) or octets == found + b"\r\n"


@pytest.mark.parametrize(
    "name",
    [
        *("0", "5", "1.1", "1.TEXT", "2.HEADER", "3.3", "3.1.1", "4.2.3", "4.2.TEXT", "MIME", "1."),
        *(".1", "1..2", "01", "x", "HEADER.1", "1HEADER", "-1", "9" * 50, "1." * 600, "1 "),
        "HEADER.FIELDS",
    ],
)
def test_sections_that_are_not_there_are_none(name: str) -> None:
    assert section(EXAMPLE, name) is None


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("1", b"body"),
        ("TEXT", b"body"),
        ("1.MIME", b"Subject: one\r\n\r\n"),
        ("HEADER", b"Subject: one\r\n\r\n"),
        ("2", None),
        ("1.1", None),
        ("1.TEXT", None),
    ],
)
def test_a_message_that_is_no_multipart_is_its_part_1(name: str, octets: bytes | None) -> None:
    assert section(ONE, name) == octets


@pytest.mark.parametrize(
    ("name", "octets"),
    [("1", ONE), ("1.1", b"body"), ("1.TEXT", b"body"), ("1.2", None), ("1.1.1", None)],
)
def test_a_message_that_only_embeds_another_has_it_as_part_1(
    name: str, octets: bytes | None
) -> None:
    assert section(part(b"message/rfc822", ONE), name) == octets


def test_a_span_tells_what_the_part_is() -> None:
    span = find_part(encode_parts(scan(EXAMPLE).root), "1")

    assert span is not None
    assert (span.media, span.encoding, span.charset) == ("text/plain", "base64", "utf-8")
    assert EXAMPLE[span.header_start : span.body_start].startswith(b"Content-Type: text/plain")
    assert (span.body_start, span.body_end) == (span.start, span.end)
