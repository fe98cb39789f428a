"""The MIME scanner: the tree, the offsets, and the limits."""

from __future__ import annotations

import time
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.message import mime
from libs.protocols.message.mime import (
    MAX_BOUNDARY_OCTETS,
    MAX_DEPTH,
    MAX_FALSE_DELIMITERS,
    MAX_PARTS,
    Part,
    scan,
)

MIXED = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\n\r\none\r\n"
    b"--b \r\nContent-Type: TEXT/HTML; charset=utf-8\r\n\r\n<p>two\r\n\r\n"
    b"--b--\r\nepilogue\r\n--b\r\n\r\nthree"
)


def multipart(inside: bytes, boundary: bytes = b"b") -> bytes:
    return b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n%b" % (boundary, inside)


def media(part: Part) -> list[str]:
    return [f"{one.type}/{one.subtype}" for one in part.walk()]


def bodies(content: bytes) -> list[bytes]:
    return [content[one.body_start : one.end] for one in scan(content).root.children]


def test_parts_are_what_stands_between_the_delimiter_lines() -> None:
    root = scan(MIXED).root

    assert media(root) == ["multipart/mixed", "text/plain", "text/html"]
    assert bodies(MIXED) == [b"one", b"<p>two\r\n"]
    assert [child.lines for child in root.children] == [0, 1]
    assert root.children[1].charset == "utf-8"
    assert root.children[1].size == 8


def test_bare_line_feeds_serve_as_well() -> None:
    assert bodies(MIXED.replace(b"\r\n", b"\n")) == [b"one", b"<p>two\n"]


def test_a_memoryview_is_scanned_like_bytes() -> None:
    structure = scan(memoryview(MIXED))

    assert structure.content == MIXED
    assert media(structure.root) == media(scan(MIXED).root)


def test_a_message_without_a_content_type_is_plain_text() -> None:
    root = scan(b"Subject: x\r\n\r\nhello\r\n").root

    assert media(root) == ["text/plain"]
    assert (root.charset, root.encoding, root.lines) == ("us-ascii", "7bit", 1)


@pytest.mark.parametrize("value", [b"text", b"a/b/c", b"", b"/", b"te xt/plain", b"\xff/x"])
def test_a_content_type_that_makes_no_sense_is_plain_text(value: bytes) -> None:
    assert media(scan(b"Content-Type: " + value + b"\n\nx").root) == ["text/plain"]


def test_all_content_fields_are_read() -> None:
    part = scan(
        b"Content-Type: image/png; name=p.png\nContent-ID: <1@x>\nContent-Description: a picture\n"
        b"Content-Transfer-Encoding: BASE64 (old)\nContent-MD5: Q2hlY2s=\n"
        b"Content-Language: de, en\n"
        b"Content-Location: http://x/\nContent-Disposition: Inline; filename*=utf-8''%C3%A9.png\n\n"
    ).root

    assert (part.id, part.description, part.md5) == (b"<1@x>", b"a picture", b"Q2hlY2s=")
    assert (part.encoding, part.language, part.location) == ("base64", (b"de", b"en"), b"http://x/")
    assert (part.disposition, part.filename) == ("inline", "é.png")


@pytest.mark.parametrize(
    ("value", "disposition"),
    [(b"attachment", "attachment"), (b"; filename=x", "attachment"), (b'"a"', "attachment")],
)
def test_an_unknown_disposition_is_an_attachment(value: bytes, disposition: str) -> None:
    assert scan(b"Content-Disposition: " + value + b"\n\n").root.disposition == disposition


def test_the_name_of_the_content_type_names_a_file_as_well() -> None:
    assert scan(b"Content-Type: a/b; name=x.pdf\n\n").root.filename == "x.pdf"


def test_an_embedded_message_has_its_root_as_its_only_child() -> None:
    content = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhello\r\n"

    outer = scan(content).root

    assert media(outer) == ["message/rfc822", "text/plain"]
    assert outer.children[0].header.first(b"subject") == b"in"
    assert outer.children[0].start == outer.body_start
    assert (outer.lines, outer.children[0].lines) == (3, 1)


def test_parts_of_a_digest_are_messages() -> None:
    content = b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nhi\n--b--\n"

    assert media(scan(content).root) == ["multipart/digest", "message/rfc822", "text/plain"]


def test_the_boundary_of_the_outer_ends_the_inner_too() -> None:
    content = multipart(
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
        b"--c\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--"
    )

    assert media(scan(content).root) == [
        "multipart/mixed",
        "multipart/mixed",
        "text/plain",
        "text/plain",
    ]


@pytest.mark.parametrize("line", [b"--bb", b"--bx--", b"--b-", b"-- b", b" --b", b"x--b"])
def test_a_line_that_only_begins_like_the_delimiter_is_text(line: bytes) -> None:
    assert bodies(multipart(b"--b\r\n\r\none\r\n" + line + b"\r\ntwo\r\n--b--")) == [
        b"one\r\n" + line + b"\r\ntwo"
    ]


def test_parts_may_be_empty_and_the_end_may_be_missing() -> None:
    assert bodies(multipart(b"--b\r\n--b\r\n\r\n--b\r\n\r\nlast\r\n")) == [b"", b"", b"last\r\n"]


@pytest.mark.parametrize(
    "content",
    [
        multipart(b"no delimiter at all"),
        multipart(b"--b--\r\n"),
        multipart(b""),
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n\r\nx",
        multipart(b"x", b"b" * (MAX_BOUNDARY_OCTETS + 1)),
    ],
)
def test_a_multipart_without_parts_is_one_text(content: bytes) -> None:
    """IMAP has no empty multipart, and what a truncated message says must stay readable."""
    root = scan(content).root

    (child,) = root.children
    assert media(root) == ["multipart/mixed", "text/plain"]
    assert (child.body_start, child.end) == (root.body_start, root.end)


@pytest.mark.parametrize(
    "parameters",
    [b"boundary*0=a; boundary*1=b", b"boundary*=us-ascii''%61b", b'x=y; boundary="ab "'],
)
def test_the_boundary_may_be_written_in_every_way(parameters: bytes) -> None:
    content = b"Content-Type: multipart/mixed; " + parameters + b"\n\n--ab\n\nx\n--ab--"

    assert bodies(content) == [b"x"]


def test_lines_of_nested_texts_are_counted_each() -> None:
    content = multipart(
        b"--b\r\n\r\n1\r\n2\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\n1\r\n\r\n--b--"
    )

    assert [part.lines for part in scan(content).root.walk()] == [0, 2, 3, 1]


def test_parts_nested_too_deep_are_one_opaque_leaf() -> None:
    content = b"Content-Type: message/rfc822\n\n" * (MAX_DEPTH + 5) + b"x"

    structure = scan(content)

    parts = list(structure.root.walk())
    assert structure.limited
    assert structure.reason == "depth of parts"
    assert len(parts) == MAX_DEPTH
    assert media(parts[-1]) == ["application/octet-stream"]
    assert parts[-1].end == len(content)


def test_after_too_many_parts_the_rest_is_one_opaque_leaf() -> None:
    content = multipart(b"--b\r\n\r\nx\r\n" * (MAX_PARTS + 100))

    structure = scan(content)

    last = structure.root.children[-1]
    assert structure.reason == "number of parts"
    assert len(structure.root.children) == MAX_PARTS
    assert media(last) == ["application/octet-stream"]
    assert last.end == len(content)


def test_a_multipart_after_too_many_parts_is_opaque() -> None:
    inner = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n"
    content = multipart(inner * 600 + b"--b--")

    structure = scan(content)

    assert structure.reason == "number of parts"
    assert len(list(structure.root.walk())) <= MAX_PARTS + 1


def test_too_many_lines_like_delimiters_end_the_search() -> None:
    content = multipart(
        b"--b\r\n\r\none" + b"\n--bX" * (MAX_FALSE_DELIMITERS + 1) + b"\n--b\n\ntwo"
    )

    structure = scan(content)

    assert structure.reason == "lines like delimiters"
    assert len(structure.root.children) == 1


@pytest.mark.parametrize("name", [b"Content-Type: a/b", b"Content-Disposition: attachment"])
def test_too_many_parameters_are_reported(name: bytes) -> None:
    content = name + b"".join(b";a%d=b" % number for number in range(200)) + b"\n\n"

    assert scan(content).reason == "parameters"


def test_a_header_beyond_its_limits_is_reported_and_its_body_found() -> None:
    structure = scan(b"A: " + b"x" * 1_000_000 + b"\r\n\r\nbody")

    assert structure.reason == "header octets"
    assert structure.root.size == 4


HOSTILE = {
    "100,000 tiny parts": multipart(b"--b\r\n\r\nx\r\n" * 100_000),
    "nested 900 deep": b"".join(multipart(b"--b%d\r\n" % n, b"b%d" % n) for n in range(900)),
    "dashes": multipart(b"\n" + b"-" * 2_000_000, b'"' + b"-" * 70 + b'"'),
    "lines of dashes": multipart((b"\n" + b"-" * 900) * 3_000, b'"' + b"-" * 899 + b'x"'),
    "padding": multipart(b"--b" + b" " * 2_000_000 + b"x"),
    "empty parts": multipart(b"--b\n" * 500_000),
    "a boundary of 1 MB": multipart(b"--" + b"b" * 1_000_000, b"b" * 1_000_000),
    "200,000 fields": b"A: b\r\n" * 200_000,
    "1 MB of folds": b"A: b" + b"\n c" * 300_000,
    "no lines": b":" * 1_000_000,
    "100,000 parameters": b"Content-Type: a/b" + b"; a*0*=b" * 100_000,
    "100,000 semicolons": b"Content-Type: a/b" + b";" * 100_000 + b" " * 100_000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_content_takes_linear_time(content: bytes) -> None:
    """Each takes some 30 ms; quadratic time would be minutes."""
    start = time.perf_counter()
    scan(content)

    assert time.perf_counter() - start < 10


@given(
    st.text(alphabet="\n-ab", max_size=300),
    st.text(alphabet="-ab", max_size=4),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_a_delimiter_is_found_where_a_plain_search_finds_it(
    text: str, boundary: str, one: int, other: int
) -> None:
    content, delimiter = text.encode(), b"\n--" + boundary.encode()
    start, end = min(one, other), min(max(one, other), len(text))

    with patch.object(mime, "_WINDOW", 20):
        assert mime._find(content, delimiter, start, end) == content.find(delimiter, start, end)
