"""Replies of other hosts, read from bytes within limits (RFC 5321 §4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 2048
"""Octets of one line: four times what RFC 5321 §4.5.3.1.5 allows."""
MAX_LINES = 128
"""Lines of one reply; an endless one costs its host the connection."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")
_UNFIT = re.compile(r"[^ -~\u00a0-\uffff]+")


class ReplyError(Exception):
    """What came is no SMTP reply."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: its code, and the text of each line."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return self.code < 400

    @property
    def permanent(self) -> bool:
        """5yz."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code of the first line, or the one that the code stands for."""
        match = _STATUS.match(self.lines[0])
        # RFC 3463 §2: the class must agree with the code, or it means nothing.
        if match and match[1][0] == str(self.code)[0]:
            return match[1]
        return f"{min(self.code // 100, 5)}.0.0"

    def __str__(self) -> str:
        return f"{self.code} {' '.join(line for line in self.lines if line)}".rstrip()


class ReplyReader:
    """Bytes in, replies out."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._lines: list[str] = []
        self._code = 0

    @property
    def pending(self) -> bool:
        """There are bytes that belong to no reply that was given out."""
        return bool(self._incoming or self._lines)

    def receive(self, data: bytes) -> None:
        """What the other host sent."""
        self._incoming += data

    def next_answer(self) -> Answer | None:
        """The next whole reply, or None; `ReplyError` when there can be none any more."""
        while (line := self._line()) is not None:
            match = _LINE.fullmatch(line)
            if match is None or (self._lines and int(match[1]) != self._code):
                raise ReplyError(f"not an SMTP reply: {line[:80]!r}")
            self._code = int(match[1])
            self._lines.append(_UNFIT.sub(" ", (match[3] or b"").decode("utf-8", "replace")))
            if match[2] != b"-":
                answer = Answer(self._code, tuple(self._lines))
                self._lines = []
                return answer
            if len(self._lines) >= MAX_LINES:
                raise ReplyError(f"a reply of over {MAX_LINES} lines")
        return None

    def _line(self) -> bytes | None:
        end = self._incoming.find(b"\n")
        if end < 0 and len(self._incoming) <= MAX_LINE:
            return None
        if end < 0 or end > MAX_LINE:
            raise ReplyError(f"a reply line of over {MAX_LINE} octets")
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 1]
        return line.removesuffix(b"\r")
