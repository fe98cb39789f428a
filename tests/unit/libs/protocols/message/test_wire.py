"""IMAP strings."""

from __future__ import annotations

import pytest

from libs.protocols.message.wire import nstring, string


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"", b'""'),
        (b"plain\ttext", b'"plain\ttext"'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b"\xc3\xa9", b"{2}\r\n\xc3\xa9"),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"a\0b", b"{2}\r\nab"),
        (b"\x7f", b"{1}\r\n\x7f"),
    ],
)
def test_a_string_is_quoted_where_that_is_possible(value: bytes, wire: bytes) -> None:
    assert string(value) == wire
    assert nstring(value) == wire


def test_none_is_nil() -> None:
    assert nstring(None) == b"NIL"
