"""Content between DATA and the final dot: where it ends, and what it was before dot-stuffing.

Only CRLF.CRLF ends the content (RFC 5321 §4.1.1.4); anything laxer lets one message be read
as two, which is SMTP smuggling.  Everything works on whole blocks, never line by line.
"""

from __future__ import annotations

END = b"\r\n.\r\n"
_DOT = b"\r\n."


class DataDecoder:
    """Takes the octets after DATA in any pieces, gives back content.

    `feed` answers with content that is certain; once `done`, `rest` is what follows the dot.
    """

    def __init__(self) -> None:
        # As if a CRLF stood before the first line: a dot at the very start counts too.
        self._carry = b"\r\n"
        self._first = True
        self.done = False
        self.rest = b""

    def feed(self, block: bytes) -> bytes:
        """The next octets of the content, dot-unstuffed (RFC 5321 §4.5.2)."""
        data = self._carry + block
        # To look for three octets is ten times faster than for five, and most lines have no dot;
        # to look for one is thirty times faster still, and what is Base64 has none at all.
        dot = data.find(_DOT) if b"." in data else -1
        end = data.find(END, dot) if dot >= 0 else -1
        if end >= 0:
            self.done = True
            self.rest = data[end + len(END) :]
            data, self._carry = data[: end + 2], b""
        else:
            # What may be the beginning of an end, or of a stuffed dot, waits for the next block.
            keep = _tail(data)
            data, self._carry = data[: len(data) - keep], data[len(data) - keep :]
        if dot >= 0 and dot != end:
            data = b"\r\n".join(data.split(_DOT))  # as replace() does, ten times faster
        if self._first and len(data) >= 2:
            data, self._first = data[2:], False
        return data


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
