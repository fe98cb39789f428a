"""IMAP strings: whatever octets a header holds, the response around them stays well-formed."""

from __future__ import annotations

import re

_NOT_QUOTABLE = re.compile(rb"[^\t\x20-\x7e]")


def string(value: bytes) -> bytes:
    """A quoted string, or a literal where one is needed: 8-bit octets and control characters.

    A literal may hold anything but NUL (RFC 9051 §4.3), so NULs are dropped.
    """
    if _NOT_QUOTABLE.search(value):
        value = value.replace(b"\0", b"")
        return b"{%d}\r\n%b" % (len(value), value)
    if b"\\" in value or b'"' in value:
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % value


def nstring(value: bytes | None) -> bytes:
    """NIL for None, else a string."""
    return b"NIL" if value is None else string(value)
