"""Mailbox names in modified UTF-7 (RFC 3501 §5.1.3); UTF-8 is understood as well."""

from __future__ import annotations

import base64
import binascii
import re

_ENCODED = re.compile(r"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(r"[\x20-\x7e]+|[^\x20-\x7e]+")


def decode_name(raw: bytes, *, utf8: bool = False) -> str:
    """The name in Unicode; what is not valid is left as it came.

    `utf8`: the client has enabled UTF-8, so that `&` begins nothing (RFC 6855 §3).
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return _ENCODED.sub(_decode, text) if "&" in text and not utf8 else text


def _decode(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    padded = match[1].replace(",", "/") + "=" * (-len(match[1]) % 4)
    try:
        return base64.b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return match[0]


def encode_name(name: str, *, utf8: bool = False) -> bytes:
    """The name as an IMAP4rev1 client reads it; with `utf8` as it is."""
    if utf8:
        return name.encode("utf-8", "replace")
    return "".join(_encode(part) for part in _PLAIN.findall(name)).encode("ascii")


def _encode(part: str) -> str:
    if " " <= part[0] <= "~":
        return part.replace("&", "&-")
    coded = base64.b64encode(part.encode("utf-16-be", "surrogatepass")).rstrip(b"=")
    return f"&{coded.decode().replace('/', ',')}-"
