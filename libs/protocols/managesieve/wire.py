"""The grammar of lines (RFC 5804 §4): words, numbers, and strings quoted or as literals."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_QUOTED = 1024
"""Octets of a quoted string (RFC 5804 §4)."""

# Possessive quantifiers keep each step linear.
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9]*+")
_NUMBER = re.compile(rb"[0-9]{1,10}(?![0-9])")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]++|\\["\\])*+)"')
# The client's literals are sent at once, so only `{n+}` is one; `{n}` is taken for it.
_LITERAL = re.compile(rb"\{([0-9]{1,10})\+?\}\r?\n")
_ESCAPED = re.compile(rb"\\(.)")

Word = str | int | bytes
"""A word in upper case, a number, or the octets of a string."""


class Malformed(Exception):
    """The line is no command; the text says which rule it breaks."""


class TooLarge(Exception):
    """A literal has more octets than are taken; they are to be skipped."""

    def __init__(self, skip: int) -> None:
        super().__init__("the literal is too large")
        self.skip = skip
        """Octets from the beginning of the line to the end of the literal."""


def read_line(data: bytes | bytearray, most: int) -> tuple[list[Word], int] | None:
    """(the words of the first line, octets that it takes), or None when it is not all here.

    Raises `Malformed`, and `TooLarge` for a literal of more than `most` octets.
    """
    words: list[Word] = []
    at = 0
    while True:
        if data.startswith(b"\r\n", at) or data.startswith(b"\n", at):
            return words, at + (2 if data.startswith(b"\r", at) else 1)
        if words:
            if data.startswith(b" ", at):
                at += 1
            elif at < len(data) and data[at:] != b"\r":
                raise Malformed("expected a space or the end of the line")
        found = _word(data, at, most)
        if found is None:
            return None
        word, at = found
        words.append(word)


def _word(data: bytes | bytearray, at: int, most: int) -> tuple[Word, int] | None:
    if match := _QUOTED.match(data, at):
        if len(match[1]) > MAX_QUOTED:
            raise Malformed(f"a quoted string has at most {MAX_QUOTED} octets")
        return _ESCAPED.sub(rb"\1", match[1]), match.end()
    if match := _LITERAL.match(data, at):
        end = match.end() + int(match[1])
        if int(match[1]) > most:
            raise TooLarge(end)
        return (bytes(data[match.end() : end]), end) if end <= len(data) else None
    whole = b"\n" in data[at:]
    for pattern in (_WORD, _NUMBER):
        if match := pattern.match(data, at):
            if match.end() == len(data):
                return None
            text = match[0].decode()
            return (text.upper() if pattern is _WORD else int(text)), match.end()
    if whole:
        raise Malformed("expected a word, a number or a string")
    return None


def string(text: str | bytes) -> bytes:
    """A string for the client, quoted where that is possible."""
    octets = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(octets) <= MAX_QUOTED and not re.search(rb"[\r\n\0]", octets):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", octets) + b'"'
    return b"{%d}\r\n" % len(octets) + octets


def response(word: str, text: str = "", code: str = "", argument: str = "") -> bytes:
    """`OK`, `NO` or `BYE` with a response code (RFC 5804 §1.3) and a text."""
    parts = [word.encode()]
    if code:
        given = b" " + string(argument) if argument else b""
        parts.append(b"(" + code.encode() + given + b")")
    if text:
        parts.append(string(text))
    return b" ".join(parts) + b"\r\n"


def lines(rows: Sequence[Sequence[bytes]]) -> bytes:
    """Lines of a list in front of its response."""
    return b"".join(b" ".join(row) + b"\r\n" for row in rows)
