"""RFC 2047 encoded words and RFC 2231 extended values: octets to text, whatever they hold."""

from __future__ import annotations

import binascii
import re
from itertools import islice
from urllib.parse import unquote_to_bytes

from libs.protocols.message.charset import decode_text

MAX_WORDS = 1_000
"""Encoded words in one value that are decoded; the rest stays as it is written."""

# White space inside the encoded text is forbidden (RFC 2047 §2), but real mailers write it.
_WORD = re.compile(rb"=\?([^?\s]{1,75})\?([bBqQ])\?([^?]*+)\?=")
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


def decode_base64(data: bytes) -> bytes:
    """What can be decoded of base64; other octets are passed over (RFC 2045 §6.8)."""
    try:
        # Surplus padding is ignored, so this mends what lacks it.
        return binascii.a2b_base64(data + b"==")
    except binascii.Error:
        data = data.translate(None, _NOT_BASE64)
        data = data[: len(data) - (len(data) % 4 == 1)]
        return binascii.a2b_base64(data + b"==")


def decode_words(value: bytes) -> str:
    """The text of an unfolded field value, encoded words decoded (RFC 2047 §6)."""
    if b"=?" not in value:
        return decode_text(value)
    runs: list[tuple[str, bytes]] = []
    at = 0
    for match in islice(_WORD.finditer(value), MAX_WORDS):
        between = value[at : match.start()]
        # White space between two encoded words is not shown (RFC 2047 §6.2).
        if between.strip() or at == 0:
            runs.append(("", between))
        charset, data = _decoded(match)
        if runs and runs[-1][0] == charset:
            # Mailers split characters of several octets between words: decode them together.
            data = runs.pop()[1] + data
        runs.append((charset, data))
        at = match.end()
    runs.append(("", value[at:]))
    return "".join(decode_text(data, charset) for charset, data in runs)


def _decoded(match: re.Match[bytes]) -> tuple[str, bytes]:
    charset, encoding, text = match.groups()
    # RFC 2231 §5 lets a language follow: =?us-ascii*en?Q?...?=
    name = charset.partition(b"*")[0].decode("latin-1").lower() or "us-ascii"
    if encoding in b"bB":
        return name, decode_base64(text)
    return name, binascii.a2b_qp(text, header=True)


def decode_extended(value: bytes) -> str:
    """The text of an extended parameter value: charset'language'%XX... (RFC 2231 §4)."""
    charset, quote, rest = value.partition(b"'")
    _, second, text = rest.partition(b"'")
    if not (quote and second):
        charset, text = b"", value
    return decode_text(unquote_to_bytes(text), charset.decode("latin-1"))
