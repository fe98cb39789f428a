"""Writing responses: strings in the form that suits them, sets, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable

from libs.protocols.imap.mutf7 import encode_name

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]+")
_QUOTABLE = re.compile(rb"[\x20-\x7e]{0,1000}")


def string(value: bytes) -> bytes:
    """A quoted string when that is possible, else a literal."""
    if _QUOTABLE.fullmatch(value):
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    value = value.replace(b"\0", b"")
    return b"{%d}\r\n%b" % (len(value), value)


def astring(value: bytes) -> bytes:
    """An atom when that is possible, else a string."""
    if _ATOM.fullmatch(value) and value.upper() != b"NIL":
        return value
    return string(value)


def mailbox(name: str) -> bytes:
    """A mailbox name in modified UTF-7."""
    return astring(encode_name(name))


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
