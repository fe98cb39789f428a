"""Previews."""

from __future__ import annotations

import base64
import time

import pytest

from libs.protocols.message.mime import scan
from libs.protocols.message.preview import MAX_PREVIEW, MAX_TEXT_PARTS, preview


def of(content: bytes) -> str:
    return preview(content, scan(content).root)


def html(body: bytes) -> str:
    return of(b"Content-Type: text/html; charset=utf-8\n\n" + body)


def test_white_space_is_folded_and_the_length_bounded() -> None:
    assert of(b"\n  a\r\n\r\n b\tc \r\n") == "a b c"
    assert of(b"\n" + b"word " * 1_000) == ("word " * 40).rstrip()
    assert len(of(b"\n" + b"x" * 5_000)) == MAX_PREVIEW


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"8bit", "gr\u00fcn".encode()),
        (b"quoted-printable", b"gr=C3=\n=BCn"),
        (b"base64", base64.b64encode("gr\u00fcn".encode())),
    ],
)
def test_the_transfer_encoding_is_undone(encoding: bytes, body: bytes) -> None:
    head = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "

    assert of(head + encoding + b"\n\n" + body) == "grün"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<html><head><title>T</title></head><body><p>Hello&nbsp;<b>you</b>", "Hello you"),
        (b"<style>p { color: red }</style>Hi<script>x<y</script> you", "Hi you"),
        (b"<!-- <p>hidden --> shown <!-- open", "shown"),
        (b"a &lt;b&gt; &#233;&#xe9;&eacute; &nosuch; &#0; &#1114112;", "a <b> ééé &nosuch;"),
        (b"<styled>shown", "shown"),
        (b"a<p", "a"),
        (b"a &zwnj;&#847; &zwnj;&#847;b", "a b"),
        (b"<STYLE>x</STYLE>y", "y"),
    ],
)
def test_tags_are_roughly_stripped(body: bytes, text: str) -> None:
    assert html(body) == text


def test_a_long_style_before_the_body_is_passed_over() -> None:
    assert html(b"<style>" + b"a{b:c}\n" * 1_000 + b"</style><body>" + b"<p>hi" * 900) != ""


def test_a_character_that_the_cut_splits_is_left_out() -> None:
    head = b"Content-Type: text/plain; charset=utf-8\n\n"

    assert of(head + (" " * 1_000 + "é" * 20).encode()) == ""
    assert of(head + b"a" + "€".encode() * 1_000).strip("€") == "a"


def test_the_first_text_with_words_that_is_no_attachment_is_taken() -> None:
    parts = [
        b"Content-Disposition: attachment\n\nnot this",
        b"\n",
        b"\n \n \n",
        b"Content-Type: image/png\n\nnor this",
        b"\nthis",
        b"\nlater",
    ]
    content = b"Content-Type: multipart/mixed; boundary=b\n\n"
    content += b"".join(b"--b\n" + part + b"\n" for part in parts)

    assert of(content) == "this"


def test_only_so_many_texts_are_looked_at() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\n\n"
    content += b"--b\n\n \n" * MAX_TEXT_PARTS + b"--b\n\nlate"

    assert of(content) == ""


@pytest.mark.parametrize("piece", [b"<", b"<style", b"<!--", b"&#9", b"<p>", b"<style></style>"])
def test_hostile_html_takes_little_time(piece: bytes) -> None:
    start = time.perf_counter()
    html(piece * 200_000)

    assert time.perf_counter() - start < 5


def test_a_preview_has_no_control_characters() -> None:
    assert of(b"\na\0b\x1b[31m\xe2\x80\xaec") == "a b [31m c"
