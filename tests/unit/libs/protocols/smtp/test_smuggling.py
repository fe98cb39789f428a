"""S1, SMTP smuggling: what looks like the end of content and is none, at every byte split.

CVE-2023-51764 (Postfix), CVE-2023-51765 (Sendmail), CVE-2023-51766 (Exim), CVE-2023-51747 (James),
CVE-2024-27305 (aiosmtpd): two hosts that do not agree where a message ends.
"""

from __future__ import annotations

import itertools

import pytest

from libs.protocols.smtp.data import END, DataDecoder
from libs.protocols.smtp.line_ends import LineEnds

LINE_ENDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r",
    b"\0\r\n",
    b"\r\n\0",
    b"\v",
    b"\f",
    "\N{NEXT LINE}".encode(),
    "\N{LINE SEPARATOR}".encode(),
)
SMUGGLED = b"MAIL FROM:<boss@ours.example>\r\nRCPT TO:<victim@ours.example>\r\nDATA\r\nx\r\n.\r\n"
PAIRS = list(itertools.product(LINE_ENDS, LINE_ENDS))


def receive(data: bytes, split: int) -> tuple[bytes, bytes, bool]:
    """Content, what follows it, and whether it is fit to be taken."""
    decoder, ends = DataDecoder(), LineEnds()
    content, rest = b"", b""
    for piece in (data[:split], data[split:]):
        if decoder.done:
            rest += piece
            continue
        got = decoder.feed(piece)
        ends.feed(got)
        content += got
        rest += decoder.rest
    ends.end()
    return content, rest, not ends.bare


def reference(data: bytes) -> tuple[bytes, bytes]:
    """The same by the words of RFC 5321 §4.1.1.4 and §4.5.2, without a care for speed."""
    content, rest = (b"\r\n" + data).split(END, 1)
    lines = (content + b"\r\n").split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)[2:], rest


@pytest.mark.parametrize("stuffed", [b".", b".."], ids=["dot", "stuffed"])
@pytest.mark.parametrize("start", [b"", b"hello"], ids=["at the start", "after text"])
@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_message_is_one_message_or_none(
    before: bytes, after: bytes, start: bytes, stuffed: bytes
) -> None:
    data = start + before + stuffed + after + SMUGGLED
    content, rest = reference(data)
    ends_early = END in b"\r\n" + start + before + stuffed + after

    for split in range(len(data) + 1):
        got, follows, fit = receive(data, split)

        assert (got, follows) == (content, rest)
        # Nothing follows but after the one true end; all else is content, or refused.
        assert bool(follows) == ends_early
        assert fit == (not set(got.replace(b"\r\n", b"")) & set(b"\r\n"))
