"""What SEARCH finds in a message: by a scan, and the same in the document that an index keeps."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.message.header import MAX_HEADER_OCTETS
from libs.protocols.message.searchable import (
    MAX_DOCUMENT,
    contains,
    document,
    header_contains,
    seekable,
)


def mixed(*parts: bytes) -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return (
        b'Subject: mixed\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' + body + b"--b--"
    )


PLAIN = (
    b"From: Ann <ann@x.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= Bern\r\n\r\nHello World"
)
FOLDED = b"Subject: one\r\n two\r\nTo: three@x.test\r\n\r\nfour\r\nfive"
QP = (
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
)
BASE64 = b"Content-Transfer-Encoding: base64\r\nContent-Type: text/html; charset=koi8-r\r\n\r\n"
ATTACHED = (
    b"Content-Type: application/pdf\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''R%C3%A9sum%C3%A9.pdf\r\n\r\nneedle"
)
CASES: list[tuple[bytes, str, bool, bool]] = [
    # content, text, in the body, anywhere
    (PLAIN, "hello", True, True),
    (PLAIN, "O WOR", True, True),
    (PLAIN, "grüsse AUS", False, True),
    (PLAIN, "ann@x", False, True),
    (PLAIN, "=?utf-8", False, False),
    (PLAIN, "absent", False, False),
    # Folds are taken out, line ends are not.
    (FOLDED, "one two", False, True),
    (FOLDED, "twoTo", False, False),
    (FOLDED, "four five", False, False),
    (QP + quopri.encodestring("süße Träume".encode()), "SÜSSE TRÄ", True, True),
    (QP + b"soft=\r\nly broken", "softly", True, True),
    (BASE64 + base64.b64encode("<b>Привет</b>".encode("koi8-r")), "привет", True, True),
    (mixed(QP + b"caf=C3=A9", ATTACHED), "café", True, True),
    # Of an attachment its name is sought, its content is not.
    (mixed(b"\r\nx", ATTACHED), "résumé", False, True),
    (mixed(b"\r\nx", ATTACHED), "needle", False, False),
    (mixed(b"\r\nend", b"\r\nbegin"), "endbegin", False, False),
    (
        mixed(b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep"),
        "inner",
        False,
        True,
    ),
    (mixed(b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep"), "deep", True, True),
    # Two encoded words belong together.
    (b"Subject: =?utf-8?q?nee?= =?utf-8?q?dle?=\r\n\r\n", "needle", False, True),
    # Encodings that are broken or unknown are read as they are, charsets as well as they can be.
    (b"Content-Transfer-Encoding: x-uuencode\r\n\r\nplain", "plain", True, True),
    (b"Content-Transfer-Encoding: base64\r\n\r\n!!!!", "absent", False, False),
    (b"Content-Type: text/plain; charset=nonsense\r\n\r\nplain \xff", "plain", True, True),
]


@pytest.mark.parametrize(("content", "text", "in_body", "anywhere"), CASES)
def test_a_text_is_found_where_a_person_would_read_it(
    content: bytes, text: str, in_body: bool, anywhere: bool
) -> None:
    assert contains(content, text, body_only=True) is in_body
    assert contains(content, text, body_only=False) is anywhere


@pytest.mark.parametrize(("content", "text", "in_body", "anywhere"), CASES)
def test_a_document_has_it_just_there(
    content: bytes, text: str, in_body: bool, anywhere: bool
) -> None:
    made, sought = document(content), seekable(text)

    assert made
    assert sought
    assert (sought in made.body) is in_body
    assert (sought in made.head or sought in made.body) is anywhere


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Subject", "GRÜSSE", True),
        ("subject", "", True),
        ("X-None", "", False),
        ("From", "subject", False),
    ],
)
def test_a_field_is_sought_by_its_name(name: str, text: str, found: bool) -> None:
    assert header_contains(PLAIN, name, text) is found


fragments = st.sampled_from(
    [
        b"Subject: ", b"=?utf-8?b?", b"w7zD", b"=?utf-8?q?=C3=BC?=", b"?=", b"\r\n", b"\n", b"\r",
        b"\t", b"\r\n\r\n", b"--b", b"--b--", b"Content-Type: multipart/mixed; boundary=b\r\n",
        b" ", b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\0",
        b"\xff\xfe", "Straße".encode(), b"needle", b"nee", b"dle", b"%", b"_",
        b"Content-Type: text/x",
    ]
)  # fmt: skip
hostile = st.lists(st.one_of(fragments, st.binary(max_size=6)), max_size=25).map(b"".join)
sought = st.sampled_from(["needle", "ü", "strasse", "e", "--b", "nee dle", "subject: ", "=", "%"])


@given(hostile, sought, st.booleans())
def test_whatever_it_is_made_of_scan_and_document_agree(
    content: bytes, text: str, body_only: bool
) -> None:
    made = document(content)
    found = contains(content, text, body_only=body_only)

    if made:
        texts = (made.body,) if body_only else (made.head, made.body)
        assert any((seekable(text) or "") in one for one in texts) is found


prefixes = st.sampled_from(
    [b"Return-Path: <>\r\n", b"Received: from needle\r\n\tby us\r\n", b"Delivered-To: a@x.test\r\n"]
)


@given(prefixes, hostile, sought, st.booleans())
def test_fields_in_front_change_nothing_of_what_is_found_in_a_document(
    prefix: bytes, content: bytes, text: str, body_only: bool
) -> None:
    """IMAP shows our trace fields before the content; the document is of the content alone."""
    if document(content):
        front = not body_only and contains(prefix + b"\r\n", text, body_only=False)
        alone = contains(content, text, body_only=body_only)
        assert contains(prefix + content, text, body_only=body_only) is (front or alone)


@pytest.mark.parametrize(
    "content",
    [
        b"no field at all",
        b"\r\nbody only",
        b" folded: from the start\r\n\r\n",
        b"From x Mon Jan 1 00:00:00 2026\r\nSubject: x\r\n\r\n",
        b"Subject: x\r\n\r\n" + b"x" * (MAX_DOCUMENT + 1),
        b"Subject: x\r\n" + b"X: y\r\n" * (MAX_HEADER_OCTETS // 10) + b"\r\n",
        mixed(*[b"\r\nx"] * 1_100),
    ],
)
def test_what_is_too_odd_or_too_large_is_left_to_a_scan(content: bytes) -> None:
    assert document(content) is None


@pytest.mark.parametrize("text", ["", "a\nb", "\0", "\ufffd", "tab\there", "a\udce4"])
def test_what_a_document_cannot_tell_is_not_sought_in_it(text: str) -> None:
    assert seekable(text) is None


def test_what_no_database_takes_is_replaced() -> None:
    made = document(b"Subject: a\0b\r\n\r\nc\0d")

    assert made
    assert (made.head.strip(), made.body) == ("subject: a\ufffdb", "c\ufffdd")


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: " + b"=?utf-8?q?x?= " * 50_000 + b"\r\n\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 1_000_000,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=A" * 500_000,
        b"\r\n \r\n ".join([b"A: b"] * 50_000),
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n" * 100_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 2_000,
    ],
)
def test_hostile_messages_end_in_no_and_never_in_an_exception(content: bytes) -> None:
    assert not contains(content, "absent", body_only=False)
    document(content)
