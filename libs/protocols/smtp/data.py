"""Content between DATA and the final dot: where it ends, and what it was before dot-stuffing.

Only CRLF.CRLF ends the content (RFC 5321 §4.1.1.4); anything laxer lets one message be read
as two, which is SMTP smuggling.  Everything works on whole blocks, never line by line.
"""

from __future__ import annotations

END = b"\r\n.\r\n"


class DataDecoder:
    """Takes the octets after DATA in any pieces, gives back content.

    `feed` answers with content that is certain; once `done`, `rest` is what follows the dot.
    """

    def __init__(self) -> None:
        # As if a CRLF stood before the first line: a dot at the very start counts too.
        self._carry = b"\r\n"
        self._first = True
        self._last_cr = False
        self.done = False
        self.rest = b""
        self.bare = False
        """A CR or LF was seen that is not part of CRLF."""

    def feed(self, block: bytes) -> bytes:
        """The next octets of the content, dot-unstuffed (RFC 5321 §4.5.2)."""
        data = self._carry + block
        end = data.find(END)
        if end >= 0:
            self.done = True
            self.rest = data[end + len(END) :]
            data, self._carry = data[: end + 2], b""
        else:
            # What may be the beginning of an end, or of a stuffed dot, waits for the next block.
            keep = _tail(data)
            data, self._carry = data[: len(data) - keep], data[len(data) - keep :]
        return self._content(data)

    def _content(self, data: bytes) -> bytes:
        if not data:
            return b""
        data = data.replace(b"\r\n.", b"\r\n")
        if self._first and len(data) >= 2:
            data, self._first = data[2:], False
        if data:
            self._count(data)
        return data

    def _count(self, data: bytes) -> None:
        """Counting runs at memory speed; a pattern with look-behind would be 15 times slower."""
        pairs = data.count(b"\r\n")
        cr = data.count(b"\r") - data.endswith(b"\r")
        lf = data.count(b"\n")
        if self._last_cr:
            if data.startswith(b"\n"):
                lf -= 1
            else:
                self.bare = True
        self._last_cr = data.endswith(b"\r")
        if cr != pairs or lf != pairs or (self.done and self._last_cr):
            self.bare = True


def _tail(data: bytes) -> int:
    """Octets at the end of `data` that may begin CRLF.CRLF or CRLF."""
    for length in range(min(len(END) - 1, len(data)), 0, -1):
        if END.startswith(data[-length:]):
            return length
    return 0


def stuff(content: bytes) -> bytes:
    """The content as it is sent: dots doubled, the final dot added (RFC 5321 §4.5.2)."""
    content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + (b".\r\n" if content.endswith(b"\r\n") or not content else b"\r\n.\r\n")
