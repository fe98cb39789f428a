"""Replies: one line, or several of which a single dot is the last (RFC 1939 §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BARE = re.compile(rb"(?<!\r)\n")
END = b".\r\n"


def ok(text: str = "") -> bytes:
    """`+OK`."""
    return _line("+OK", text)


def err(text: str, code: str = "") -> bytes:
    """`-ERR`, with a response code like `AUTH` (RFC 2449 §8, RFC 3206)."""
    return _line("-ERR", f"[{code}] {text}" if code else text)


def _line(word: str, text: str) -> bytes:
    return f"{word} {text}".rstrip().encode("ascii", "replace") + b"\r\n"


def listing(text: str, lines: Iterable[str]) -> bytes:
    """`+OK` and lines of ours, none of which begins with a dot."""
    return ok(text) + b"".join([f"{line}\r\n".encode() for line in lines]) + END


class Stuffer:
    """Content as lines of a reply, in blocks of any size.

    Every line ends with CRLF, also one that was stored with a bare LF: what a client takes for
    the end of a line must be one, or a dot after it would end the message early.
    """

    def __init__(self) -> None:
        self._at_start = True
        self._cr = False

    def feed(self, block: bytes) -> bytes:
        """The next octets of the content, ready to be sent."""
        if not block:
            return b""
        # A CR at the end waits, so that a CRLF between two blocks stays one.
        data = (b"\r" if self._cr else b"") + block
        self._cr = data.endswith(b"\r")
        if self._cr:
            data = data[:-1]
        if not data:
            return b""
        data = _BARE.sub(b"\r\n", data)
        stuffed = data.replace(b"\n.", b"\n..")
        if self._at_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_start = data.endswith(b"\n")
        return stuffed

    def end(self) -> bytes:
        """What ends the content and the reply."""
        rest = b"\r\n" if self._cr or not self._at_start else b""
        return rest + END


class TopLines:
    """Cuts content off after the header and so many lines of the body (RFC 1939, TOP)."""

    def __init__(self, header_size: int, lines: int) -> None:
        self._header = header_size
        self._lines = lines
        self.done = False

    def feed(self, block: bytes) -> bytes:
        """What of the next octets still belongs to it."""
        head, body = block[: self._header], block[self._header :]
        self._header -= len(head)
        if self._header > 0:
            return head
        at = 0
        while self._lines:
            end = body.find(b"\n", at)
            if end < 0:
                return head + body
            at = end + 1
            self._lines -= 1
        self.done = True
        return head + body[:at]
