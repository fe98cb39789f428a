"""The part tree as it is stored with a message, and where an IMAP section is in it.

The stored form is JSON, an array for each part:
[start, body_start, end, type/subtype, encoding, charset, [children]]; offsets are octets of the
content.  Part numbers are those of RFC 9051 §6.4.5.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from libs.protocols.message.mime import Part

_SECTION = re.compile(r"((?:[1-9][0-9]{0,4}(?:\.(?!\Z)|\Z)){0,200})(HEADER|TEXT|MIME|)")
_MAX_SECTION = 1_000


@dataclass(frozen=True, slots=True)
class PartSpan:
    """The octets [start, end) of the content that a section names, and the part they are of."""

    start: int
    end: int
    media: str
    """`type/subtype` of the part, lower case."""
    encoding: str
    """Its Content-Transfer-Encoding, lower case."""
    charset: str
    header_start: int
    """The part's MIME header is [header_start, body_start), its body [body_start, body_end)."""
    body_start: int
    body_end: int


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode_parts(root: Part) -> bytes:
    """The stored form of a part tree."""
    return _encode(_array(root)).encode()


def find_part(parts: bytes, section: str) -> PartSpan | None:
    """What a section like ``, `1.2`, `TEXT`, `3.HEADER` or `1.MIME` names; None: no such part.

    HEADER.FIELDS is for the caller: it asks for HEADER, and picks the fields from it.
    """
    match = _SECTION.fullmatch(section.upper()) if len(section) <= _MAX_SECTION else None
    if not match:
        return None
    numbers = [int(number) for number in match[1].split(".") if number]
    root = json.loads(parts)
    node = _descend(root, numbers)
    if node is None:
        return None
    return _span(node, match[2], numbered=bool(numbers))


def _array(part: Part) -> list[Any]:
    children = [_array(child) for child in part.children]
    media = f"{part.type}/{part.subtype}"
    return [part.start, part.body_start, part.end, media, part.encoding, part.charset, children]


def _descend(root: list[Any], numbers: list[int]) -> list[Any] | None:
    """The part with these numbers; the root for none."""
    node: list[Any] = root
    # The root of a message shares its number 1 with the only part, if it is no multipart.
    at_root = True
    for number in numbers:
        if not at_root and node[3] == "message/rfc822":
            node, at_root = node[6][0], True
        if node[3].startswith("multipart/"):
            if number > len(node[6]):
                return None
            node = node[6][number - 1]
        elif not at_root or number != 1:
            return None
        at_root = False
    return node


def _span(node: list[Any], word: str, *, numbered: bool) -> PartSpan | None:
    start, body_start, end = node[:3]
    media, encoding, charset = node[3:6]
    where = (media, encoding, charset, start, body_start, end)
    if not word:
        return PartSpan(body_start if numbered else start, end, *where)
    if word == "MIME":
        # RFC 9051 §6.4.5.1: MIME must have a number in front of it.
        return PartSpan(start, body_start, *where) if numbered else None
    if numbered:
        # HEADER and TEXT are of the message inside, so there must be one.
        if media != "message/rfc822":
            return None
        return _span(node[6][0], word, numbered=False)
    return PartSpan(*((start, body_start) if word == "HEADER" else (body_start, end)), *where)
