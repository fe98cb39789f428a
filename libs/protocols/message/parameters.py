"""Values with parameters: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2231)."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import quote_from_bytes

from libs.protocols.message.words import decode_extended, decode_words

MAX_PARAMETERS = 100
"""Parameters of one field that are looked at."""

Parameters = tuple[tuple[bytes, bytes], ...]
"""(lower-case name, value) pairs as IMAP gives them: quoting removed and continuations joined
(RFC 2231 §6), but a name that ends with `*` still has the charset'language'%XX form."""

_HEAD = re.compile(rb"[ \t]*+([^;\s(]*+)")
# Tolerates what is seen: unquoted values with spaces, and quotes that nobody closes.
_PARAMETER = re.compile(
    rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|([^;]*+))', re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_SECTION = re.compile(rb"([^*]+)\*([0-9]{1,3})(\*?)")
_COMMENT = re.compile(rb"\s\(")


def parse_value(value: bytes) -> tuple[bytes, Parameters, bool]:
    """The unfolded value's first word in lower case, its parameters, and whether these are all."""
    head = _HEAD.match(value)
    start = head.end() if head else 0
    word = head[1].lower() if head else b""
    matches = _PARAMETER.finditer(value, start)
    found = [(one[1].lower(), _plain(one[2], one[3])) for one in islice(matches, MAX_PARAMETERS)]
    complete = len(found) < MAX_PARAMETERS or next(matches, None) is None
    if b"*" in value:
        found = _joined(found)
    firsts: dict[bytes, bytes] = {}
    for name, one_value in found:
        firsts.setdefault(name, one_value)
    return word, tuple(firsts.items()), complete


def parameter(parameters: Parameters, name: bytes) -> str:
    """The decoded text of a parameter, or the empty string; the extended form wins."""
    plain = ""
    for one, value in parameters:
        if one == name + b"*":
            return decode_extended(value)
        if one == name:
            # RFC 2047 §5 forbids encoded words here; nearly all mailers write and read them.
            plain = decode_words(value)
    return plain


def _plain(quoted: bytes | None, bare: bytes | None) -> bytes:
    if quoted is not None:
        return _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
    bare = (bare or b"").strip()
    comment = _COMMENT.search(bare)
    return bare[: comment.start()].rstrip() if comment else bare


def _joined(found: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The same with `name*0`, `name*1*` ... made one each (RFC 2231 §3)."""
    kept = []
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in found:
        match = _SECTION.fullmatch(name)
        if match:
            sections.setdefault(match[1], {}).setdefault(int(match[2]), (value, bool(match[3])))
        else:
            kept.append((name, value))
    return kept + [_one(name, numbered) for name, numbered in sections.items()]


def _one(name: bytes, numbered: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    ordered = [numbered[number] for number in sorted(numbered)]
    if not any(extended for _, extended in ordered):
        return name, b"".join(value for value, _ in ordered)
    # Without charset and language in front, the first section would be taken for them.
    start = b"" if ordered[0][1] else b"''"
    texts = (value if extended else quote_from_bytes(value).encode() for value, extended in ordered)
    return name + b"*", start + b"".join(texts)
