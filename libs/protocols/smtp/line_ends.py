"""What content must not have: a CR or LF outside of CRLF."""

from __future__ import annotations

import io


class LineEnds:
    """Looks at content in any pieces, and remembers what it saw.

    A bare CR or LF is forbidden (RFC 5321 §2.3.8), for the next host may take it for the end of
    a line, and then read one message as two.  NUL is forbidden too (RFC 5322 §2), but real mail
    has it and nothing is misread by it, so it is taken as it is.
    """

    def __init__(self) -> None:
        # The standard library's own: one pass, four times as fast as counting CR, LF and CRLF.
        self._seen = io.IncrementalNewlineDecoder(None, translate=False)

    def feed(self, data: bytes) -> None:
        """The next octets."""
        self._seen.decode(data.decode("latin-1"))

    def end(self) -> None:
        """Nothing follows: a CR at the end stays alone."""
        self._seen.decode("", final=True)

    @property
    def bare(self) -> bool:
        """A CR or LF was seen that is not part of CRLF."""
        return self._seen.newlines not in (None, "\r\n")
