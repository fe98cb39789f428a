"""Writing responses: strings in the form that suits them, sets, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable

from libs.protocols.imap.mutf7 import encode_name

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]+")
_QUOTABLE = re.compile(rb"[\x20-\x7e]{0,1000}")
_UTF8_QUOTABLE = re.compile(rb"[\x20-\x7e\x80-\xff]{0,2000}")


def string(value: bytes) -> bytes:
    """A quoted string when that is possible, else a literal."""
    if _QUOTABLE.fullmatch(value):
        return _quoted(value)
    value = value.replace(b"\0", b"")
    return b"{%d}\r\n%b" % (len(value), value)


def _quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def astring(value: bytes) -> bytes:
    """An atom when that is possible, else a string."""
    if _ATOM.fullmatch(value) and value.upper() != b"NIL":
        return value
    return string(value)


def text(value: str) -> bytes:
    """A text in UTF-8 as a string."""
    return string(value.encode("utf-8", "replace"))


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name in modified UTF-7, or in UTF-8."""
    raw = encode_name(name, utf8=utf8)
    if utf8 and _UTF8_QUOTABLE.fullmatch(raw):
        # RFC 9051 §9: a client that took UTF-8 takes it in quoted strings.
        return raw if _ATOM.fullmatch(raw) and raw.upper() != b"NIL" else _quoted(raw)
    return astring(raw)


def number_set(numbers: Iterable[int]) -> bytes:
    """Ascending numbers as a set with ranges: `1:3,7`."""
    parts: list[bytes] = []
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            parts.append(_range(first, last))
        first = last = number
    if first >= 0:
        parts.append(_range(first, last))
    return b",".join(parts)


def _range(first: int, last: int) -> bytes:
    return b"%d" % first if first == last else b"%d:%d" % (first, last)


def flag_list(names: Iterable[str]) -> bytes:
    """`(\\Seen keyword)`."""
    return b"(" + " ".join(names).encode("ascii", "replace") + b")"
