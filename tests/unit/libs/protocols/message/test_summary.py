"""The summary of a content, on ordinary, hostile, random and real messages."""

from __future__ import annotations

import email
import re
import time
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.protocols.message.mime import Part, scan
from libs.protocols.message.summary import (
    MAX_ATTACHMENTS,
    MAX_TEXT,
    Summary,
    find_part,
    summarise,
)

MAIL = (
    b"Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: Ann <ann@example.org>, b@c\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID:\r\n <1@example.org> (x)\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nHello you\r\n"
    b"--b\r\nContent-Type: application/pdf\r\n"
    b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\nx\r\n'
    b"--b\r\nContent-Disposition: attachment\r\n\r\ny\r\n--b--\r\n"
)

# One IMAP token, as a client would read it.
_TOKEN = re.compile(rb'\(|\)| |NIL|[0-9]+|"(?:[\t\x20!#-\[\]-\x7e]|\\["\\])*"|\{([0-9]+)\}\r\n')


def read_list(wire: bytes) -> list[object]:
    """What a client makes of a parenthesised list; fails on anything out of the grammar."""
    stack: list[list[object]] = [[]]
    at = 0
    while at < len(wire):
        token = _TOKEN.match(wire, at)
        assert token, wire[at : at + 40]
        at = token.end()
        if token[1] is not None:
            literal = wire[at : at + int(token[1])]
            assert len(literal) == int(token[1])
            assert b"\0" not in literal
            at += len(literal)
            stack[-1].append(literal)
        elif token[0] == b"(":
            stack.append([])
        elif token[0] == b")":
            inner = stack.pop()
            stack[-1].append(inner)
        elif token[0] != b" ":
            stack[-1].append(None if token[0] == b"NIL" else token[0])
    (result,) = stack
    (only,) = result
    assert isinstance(only, list)
    return only


def check_storable(text: str, limit: int) -> None:
    assert "\0" not in text
    assert len(text) <= limit
    text.encode()


def check(content: bytes) -> Summary:
    """All that must hold for any content."""
    summary = summarise(content)
    shown = read_list(summary.envelope)
    assert len(shown) == 10
    for field in shown[2:8]:
        assert field is None or isinstance(field, list)
        assert all(isinstance(one, list) and len(one) == 4 for one in field or ())
    check_structure(read_list(summary.bodystructure), extended=True)
    check_structure(read_list(summary.body), extended=False)
    assert 0 <= summary.header_size <= len(content)
    for text in (summary.subject, summary.message_id, summary.from_address, *summary.attachments):
        check_storable(text, MAX_TEXT)
    check_storable(summary.preview, 200)
    check_spans(content, summary)
    return summary


def check_structure(body: list[object], *, extended: bool) -> None:
    """The grammar of `body` (RFC 9051 §9), as strict clients take it."""
    count = next(number for number, item in enumerate(body) if not isinstance(item, list))
    if count:
        for child in body[:count]:
            assert isinstance(child, list)
            check_structure(child, extended=extended)
        assert len(body) == count + (5 if extended else 1)
        return
    kind, size = body[:2], body[6]
    assert isinstance(size, bytes)
    assert size.isdigit()
    length = 7
    if kind == [b'"MESSAGE"', b'"RFC822"']:
        assert isinstance(body[7], list)
        assert len(body[7]) == 10
        assert isinstance(body[8], list)
        check_structure(body[8], extended=extended)
        length = 10
    elif kind[0] == b'"TEXT"':
        length = 8
    assert len(body) == length + (4 if extended else 0)


def check_spans(content: bytes, summary: Summary) -> None:
    root = scan(content).root
    for part in root.walk():
        assert part.start <= part.body_start <= part.end
        before = part.body_start
        for child in part.children:
            assert before <= child.start <= child.end <= part.end
            before = child.end
    header, text = find_part(summary.parts, "HEADER"), find_part(summary.parts, "TEXT")
    assert header is not None
    assert text is not None
    assert (header.start, header.end, text.start, text.end) == (
        0,
        summary.header_size,
        summary.header_size,
        len(content),
    )


def test_a_summary_has_all_that_lists_of_messages_show() -> None:
    summary = check(MAIL)

    assert summary.subject == "Grüße"
    assert summary.message_id == "<1@example.org>"
    assert summary.from_address == "ann@example.org"
    assert summary.sent_at == 880127706.0
    assert summary.preview == "Hello you"
    assert summary.attachments == ("a.pdf", "")
    assert summary.header_size == MAIL.index(b"--b")
    assert summary.limited == ""


def test_an_empty_content_has_an_empty_summary() -> None:
    summary = check(b"")

    assert (summary.subject, summary.message_id, summary.from_address) == ("", "", "")
    assert (summary.sent_at, summary.preview, summary.attachments) == (None, "", ())


def test_texts_are_bounded_and_on_one_line() -> None:
    summary = check(b"Subject: a\rb\0" + b"x" * 5_000 + b"\nMessage-ID: " + b"m" * 5_000 + b"\n\n")

    assert summary.subject == "a b" + "x" * (MAX_TEXT - 3)
    assert summary.message_id == "m" * MAX_TEXT


def test_lone_surrogates_do_not_reach_the_database() -> None:
    assert check(b"Subject: =?utf-7?q?+2AA-?=\n\n").subject == "?"


def test_a_group_has_no_address_but_its_members_have() -> None:
    assert check(b"From: Us: a@b;\n\n").from_address == "a@b"
    assert check(b"From: Us:;\n\n").from_address == ""


def test_only_so_many_attachments_are_named() -> None:
    part = b"--b\nContent-Type: a/b; name=x\n\n\n"
    content = b"Content-Type: multipart/mixed; boundary=b\n\n" + part * (MAX_ATTACHMENTS + 5)

    assert len(check(content).attachments) == MAX_ATTACHMENTS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"To: " + b"a@b," * 3_000 + b"\n\n", "addresses"),
        (b"Content-Type: message/rfc822\n\nTo: " + b"a@b," * 3_000 + b"\n\n", "addresses"),
        (b"Content-Type: message/rfc822\n\n" * 100, "depth of parts"),
    ],
)
def test_the_limit_that_was_hit_is_named(content: bytes, reason: str) -> None:
    assert check(content).limited == reason


HOSTILE = {
    "20,000 addresses": b"To: " + b", ".join(b"U <u%d@x>" % n for n in range(20_000)) + b"\n\n",
    "20,000 odd addresses": b"To: " + b"(c) U.X <u @x>, " * 20_000 + b"\n\n",
    "addresses of quotes": b"From: " + b'"' * 200_000 + b"\n\n",
    "addresses of brackets": b"From: " + b"<" * 200_000 + b"\n\n",
    "addresses of signs": b"From: " + b"@" * 200_000 + b"\n\n",
    "nested comments": b"From: " + b"(" * 200_000 + b"\n\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 15_000 + b"\n\n",
    "open encoded words": b"Subject: " + b"=?a?b?" * 40_000 + b"\n\n",
    "nested with long headers": (b"Content-Type: message/rfc822\nTo: " + b"a@b," * 2_000 + b"\n\n")
    * 40,
    "HTML parts": b"Content-Type: multipart/mixed; boundary=b\n\n"
    + (b"--b\nContent-Type: text/html\n\n" + b"<p>" * 10_000 + b"\n") * 300,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_is_summarised_in_linear_time(content: bytes) -> None:
    """Each takes at most some 100 ms; quadratic time would be minutes."""
    check(content)
    start = time.perf_counter()
    summarise(content)

    assert time.perf_counter() - start < 10


PIECES = (
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: multipart/digest; boundary=c\n",
    b"Content-Type: message/rfc822\r\n",
    b'Content-Type: text/plain; charset="',
    b"Content-Disposition: attachment; filename*0*=utf-8''%c3; filename*1=\"x\\",
    b"Content-Language: a, b\n",
    b"Content-ID: ",
    b"From: a <b@c>, (d \\( (e) f@g, h: i@j;",
    b'To: "x" <@r:y@z>',
    b"Subject: =?utf-7?b?",
    b"Date: Fri, 21 Nov 1997 09:55:06 -0600",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\0",
    b"\xff\xfe",
    b"--b",
    b"--c\r\n",
    b"--b--\r\n",
    b"{5}\r\n",
    b'"',
    b"(",
    b")",
    b"\\",
    b"<p>&#1234;</p><style>",
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=40).map(b"".join))
def test_no_mixture_of_pieces_of_mail_breaks_anything(content: bytes) -> None:
    check(content)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_octets_break_anything(content: bytes) -> None:
    check(content)
    check(b"Content-Type: multipart/mixed; boundary=" + content)
    check(b"From: " + content + b"\nSubject: " + content)


def messages(corpus: Path) -> Iterator[bytes]:
    for path in sorted(corpus.glob("*/*.eml")):
        content = path.read_bytes()
        # Old Macintosh line breaks are none in mail; the standard library takes them for some.
        if b"\r" not in content.replace(b"\r\n", b""):
            yield content


def theirs(message: Message) -> list[str]:
    """The types that the standard library finds, less what it makes of status reports."""
    kind = message.get_content_type().split("\n")[0]
    children = message.get_payload()
    if not kind.startswith("multipart/") and kind != "message/rfc822":
        return [kind]
    if not isinstance(children, list):
        return [kind, "text/plain"]
    return [kind, *(one for child in children for one in theirs(child))]  # type: ignore[arg-type]


def ours(root: Part) -> list[str]:
    return [f"{part.type}/{part.subtype}" for part in root.walk()]


def header_is_clean(content: bytes) -> bool:
    """Whether each part's header is fields alone: else the standard library ends it there."""
    return all(
        re.fullmatch(
            rb"(?:[!-9;-~]+:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z))*(?:\r?\n)?",
            content[part.start : part.body_start],
        )
        for part in scan(content).root.walk()
    )


def test_real_messages_are_summarised_in_order(corpus: Path) -> None:
    for path in sorted(corpus.glob("*/*.eml")):
        check(path.read_bytes())


def test_real_messages_have_the_parts_that_the_standard_library_finds(corpus: Path) -> None:
    compared = 0
    for content in messages(corpus):
        if header_is_clean(content):
            compared += 1
            expected = [kind.split("\n")[0] for kind in theirs(email.message_from_bytes(content))]
            assert ours(scan(content).root) == expected, content[:300]
    assert compared > 50


def test_real_subjects_are_decoded_as_the_standard_library_does(corpus: Path) -> None:
    compared = 0
    for content in messages(corpus):
        subject = email.message_from_bytes(content)["subject"]
        if not header_is_clean(content) or subject is None or not str(subject).isascii():
            continue
        try:
            text = str(make_header(decode_header(subject)))
        except (LookupError, UnicodeError, ValueError):
            continue
        compared += 1
        # It keeps NUL, and has other ideas of white space.
        expected = "".join(text.replace("\0", "").split())
        assert "".join(summarise(content).subject.split()) == expected
    assert compared > 50
