"""Undoing a Content-Transfer-Encoding (RFC 2045 §6)."""

from __future__ import annotations

import binascii

from libs.protocols.message.words import decode_base64

_AS_IT_IS = frozenset(("", "7bit", "8bit", "binary"))


class UnknownEncoding(ValueError):
    """No such encoding is known, so the data cannot be decoded."""


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """The octets behind an encoding (lower case); what is broken is passed over."""
    if encoding in _AS_IT_IS:
        return data
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    raise UnknownEncoding(encoding)
