"""Line ends: CRLF in the mail store, LF in the files of Unix.

Content goes to LF and back without a loss as long as every LF of it follows just one CR; any
other content is *kept*, octet for octet, and its file says so.
"""

from __future__ import annotations

import re

_BARE = re.compile(rb"(?<!\r)\n")
_ODD = re.compile(rb"(?<!\r)\n|(?<=\r\r)\n")


class Plain:
    """Sees content in blocks, and knows whether `ToLf` and `ToCrlf` give the same octets back."""

    def __init__(self) -> None:
        self.so_far = True
        self._tail = b""

    def feed(self, block: bytes) -> None:
        """Look at the next octets."""
        seen = self._tail + block
        self.so_far = self.so_far and not _ODD.search(seen, len(self._tail))
        self._tail = seen[-2:]


class ToLf:
    """Takes the CRs from plain content as it comes in blocks."""

    def __init__(self) -> None:
        self._cr = b""

    def feed(self, block: bytes) -> bytes:
        """The same with LF."""
        block = self._cr + block
        self._cr = b"\r" if block.endswith(b"\r") else b""
        return (block[:-1] if self._cr else block).replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """What waited for an LF."""
        return self._cr


class ToCrlf:
    """Gives content its CRLFs as it comes in blocks.

    What begins with a line that ends in CRLF is left as it is, and so is what was `kept`.
    """

    def __init__(self, *, kept: bool = False) -> None:
        self._as_is: bool | None = True if kept else None
        self._after_cr = False

    def feed(self, block: bytes) -> bytes:
        """The same octets as the store wants them."""
        if self._as_is is None and (at := block.find(b"\n")) >= 0:
            self._as_is = block[at - 1 : at] == b"\r" if at else self._after_cr
        before, self._after_cr = self._after_cr, block.endswith(b"\r")
        if self._as_is is not False:
            return block
        if before and block.startswith(b"\n"):
            return b"\n" + _BARE.sub(b"\r\n", block[1:])
        return _BARE.sub(b"\r\n", block)
