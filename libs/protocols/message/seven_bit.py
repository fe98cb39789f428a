"""A message for a host that takes seven bits only (RFC 6152 §3): 8-bit parts are encoded.

Only parts that hold other octets than ASCII change; all others leave as they came.  A signature
over the body breaks, as it would on the way through any host that converts.
"""

from __future__ import annotations

import base64
import binascii

from libs.protocols.message.mime import Part, scan

_FIELD = b"content-transfer-encoding"
_IDENTITY = ("7bit", "8bit", "binary")


class CannotConvert(ValueError):
    """The message has no 7-bit form that means the same; the text says why."""


def to_seven_bit(content: bytes) -> bytes:
    """The same message with a 7-bit body; `CannotConvert`.

    Octets of the header section itself are left alone: they need SMTPUTF8, not this.
    """
    structure = scan(content)
    if structure.limited:
        raise CannotConvert(f"too much of its MIME structure: {structure.reason}")
    edits: list[tuple[int, int, bytes]] = []
    for part in structure.root.walk():
        if not content[part.body_start : part.end].isascii():
            edits += _edits(content, part, root=part is structure.root)
    return _edited(content, edits)


def _edits(content: bytes, part: Part, *, root: bool) -> list[tuple[int, int, bytes]]:
    if part.start == part.body_start:
        raise CannotConvert("a part without a header section has 8-bit octets")
    if part.children:
        # RFC 2045 §6.4: what holds parts is never encoded itself.
        return _labelled(part, b"7bit", b"")
    if part.encoding not in _IDENTITY:
        raise CannotConvert(f"8-bit octets in a part that claims to be {part.encoding}")
    body = content[part.body_start : part.end]
    text = part.type == "text"
    encoded = _quoted_printable(body) if text else _base64(body)
    label = _labelled(part, b"quoted-printable" if text else b"base64", _missing(part, root))
    return [*label, (part.body_start, part.end, encoded)]


def _missing(part: Part, root: bool) -> bytes:
    """The fields without which the encoding would mean nothing."""
    fields = b""
    if root and part.header.first(b"mime-version") is None:
        fields += b"MIME-Version: 1.0\r\n"
    if part.header.first(b"content-type") is None:
        # RFC 1428 §3: nobody said which charset it is.
        fields += b"Content-Type: text/plain; charset=unknown-8bit\r\n"
    return fields


def _labelled(part: Part, encoding: bytes, more: bytes) -> list[tuple[int, int, bytes]]:
    fields = part.header.fields
    gone = [(field.start, field.end, b"") for field in fields if field.name == _FIELD]
    at = fields[-1].end if fields else part.start
    return [*gone, (at, at, b"Content-Transfer-Encoding: %b\r\n%b" % (encoding, more))]


def _quoted_printable(body: bytes) -> bytes:
    lines = binascii.b2a_qp(body.replace(b"\r\n", b"\n"), istext=True)
    return lines.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _base64(body: bytes) -> bytes:
    return base64.encodebytes(body).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


def _edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    pieces, at = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [content[at:start], replacement]
        at = end
    pieces.append(content[at:])
    converted = b"".join(pieces)
    # Fields were added to the section, so its end moved; it is looked for in the result.
    if not converted[scan(converted).root.body_start :].isascii():
        raise CannotConvert("8-bit octets outside of all parts")
    return converted
