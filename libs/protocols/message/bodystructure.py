"""The IMAP BODYSTRUCTURE and BODY of a part tree, in wire form (RFC 9051 §7.5.2).

message/rfc822 alone has an envelope and a structure inside: clients of IMAP4rev1 expect no such
thing of message/global, so that one is given like any file.
"""

from __future__ import annotations

from typing import NamedTuple

from libs.protocols.message.envelope import envelope
from libs.protocols.message.mime import Part
from libs.protocols.message.parameters import Parameters
from libs.protocols.message.wire import nstring, string


class Wire(NamedTuple):
    """A part in both forms; `cut` says that an address list inside was too long."""

    bodystructure: bytes
    body: bytes
    cut: bool = False


def render(part: Part) -> Wire:
    """Both wire forms of a part; the recursion is as deep as `mime.MAX_DEPTH` at most."""
    inner = [render(child) for child in part.children]
    cut = any(wire.cut for wire in inner)
    if part.is_multipart:
        subtype = part.subtype.upper().encode()
        extension = b"%b %b" % (_parameters(part.parameters), _extension(part))
        full = b"".join([wire.bodystructure for wire in inner])
        brief = b"".join([wire.body for wire in inner])
        return Wire(
            b'(%b "%b" %b)' % (full, subtype, extension), b'(%b "%b")' % (brief, subtype), cut
        )
    start = b'("%b" "%b" %b %b %b "%b" %d' % _basic(part)
    extension = b"%b %b" % (nstring(part.md5), _extension(part))
    if part.type == "text":
        start = b"%b %d" % (start, part.lines)
    elif part.is_message:
        inside = envelope(part.children[0].header)
        full = b"%b %b %b %d" % (start, inside.wire, inner[0].bodystructure, part.lines)
        brief = b"%b %b %b %d)" % (start, inside.wire, inner[0].body, part.lines)
        return Wire(b"%b %b)" % (full, extension), brief, cut or inside.cut)
    return Wire(b"%b %b)" % (start, extension), start + b")")


def _basic(part: Part) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, int]:
    # Types and encoding are tokens, so they need no quoting.
    return (
        part.type.upper().encode(),
        part.subtype.upper().encode(),
        _parameters(part.parameters),
        nstring(part.id),
        nstring(part.description),
        part.encoding.upper().encode(),
        part.size,
    )


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    pairs = [b"%b %b" % (string(name.upper()), string(value)) for name, value in parameters]
    return b"(%b)" % b" ".join(pairs)


def _extension(part: Part) -> bytes:
    """Disposition, language and location."""
    disposition = b"NIL"
    if part.disposition:
        word = string(part.disposition.upper().encode())
        disposition = b"(%b %b)" % (word, _parameters(part.disposition_parameters))
    language = b"NIL"
    if part.language:
        language = b"(%b)" % b" ".join([string(tag) for tag in part.language])
    return b"%b %b %b" % (disposition, language, nstring(part.location))
