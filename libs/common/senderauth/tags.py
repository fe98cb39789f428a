"""Tag lists, `v=1; a=rsa-sha256; ...` (RFC 6376 §3.2)."""

from __future__ import annotations

import re

MAX_TAGS = 64
"""Tags of one list."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*+")
_WHITE = " \t\r\n"


class BadTags(ValueError):
    """It is no tag list; the text says why."""


def parse_tags(raw: bytes) -> dict[str, str]:
    """The tags with their values, without outer white space; `BadTags`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BadTags("it is not UTF-8") from None
    pieces = text.split(";")
    if not pieces[-1].strip(_WHITE):
        pieces.pop()
    if len(pieces) > MAX_TAGS:
        raise BadTags(f"it has more than {MAX_TAGS} tags")
    tags: dict[str, str] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name = name.strip(_WHITE)
        if not equals or not _NAME.fullmatch(name):
            raise BadTags(f"{name[:20]!r} is no tag")
        if name in tags:
            raise BadTags(f"the tag {name} comes twice")
        tags[name] = value.strip(_WHITE)
    return tags


def without_space(value: str) -> str:
    """A value in which white space means nothing: base64, lists by colons."""
    return "".join(value.split())
