"""What content must not have: a CR or LF outside of CRLF."""

from __future__ import annotations


class LineEnds:
    """Looks at content in any pieces, and remembers what it saw.

    A bare CR or LF is forbidden (RFC 5321 §2.3.8), for the next host may take it for the end of
    a line, and then read one message as two.  NUL is forbidden too (RFC 5322 §2), but real mail
    has it and nothing is misread by it, so it is taken as it is.
    """

    def __init__(self) -> None:
        self._last_cr = False
        self.bare = False
        """A CR or LF was seen that is not part of CRLF."""

    def feed(self, data: bytes) -> None:
        """The next octets.  Counting runs at memory speed; a pattern would be 15 times slower."""
        if not data:
            return
        lf = data.count(b"\n")
        if self._last_cr:
            if data.startswith(b"\n"):
                lf -= 1
            else:
                self.bare = True
        self._last_cr = data.endswith(b"\r")
        cr = data.count(b"\r") - self._last_cr
        if cr != lf or lf != data.count(b"\r\n"):
            self.bare = True

    def end(self) -> None:
        """Nothing follows: a CR at the end stays alone."""
        self.bare |= self._last_cr
