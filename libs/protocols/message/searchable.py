"""Does a text occur in a message, as a person would read it?  For IMAP SEARCH without an index."""

from __future__ import annotations

import binascii
import quopri

from libs.protocols.message.charset import decode_text
from libs.protocols.message.header import parse_header, unfold
from libs.protocols.message.mime import Part, scan
from libs.protocols.message.words import decode_base64, decode_words


def header_contains(content: bytes, name: str, text: str) -> bool:
    """The text occurs in a field of this name, decoded, without regard to case.

    An empty text asks whether there is such a field (RFC 9051 §6.4.4).
    """
    wanted, folded = name.encode("ascii", "replace").lower(), text.casefold()
    return any(
        folded in decode_words(unfold(field.value)).casefold()
        for field in parse_header(content).fields
        if field.name.lower() == wanted
    )


def contains(content: bytes, text: str, *, body_only: bool) -> bool:
    """The text occurs in a text part, or (unless `body_only`) in the header, decoded."""
    folded = text.casefold()
    structure = scan(content)
    if not body_only:
        start = content[: structure.root.body_start]
        if folded in decode_words(unfold(start)).casefold():
            return True
    return any(folded in part.casefold() for part in _texts(content, structure.root))


def _texts(content: bytes, root: Part) -> list[str]:
    found, waiting = [], [root]
    while waiting:
        part = waiting.pop()
        waiting.extend(part.children)
        if part.type == "text" and not part.children:
            data = _decoded(content[part.body_start : part.end], part.encoding)
            found.append(decode_text(data, part.charset))
    return found


def _decoded(data: bytes, encoding: str) -> bytes:
    try:
        if encoding == "base64":
            return decode_base64(data)
        if encoding == "quoted-printable":
            return quopri.decodestring(data)
    except (binascii.Error, ValueError):
        return data
    return data
