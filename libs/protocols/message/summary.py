"""The summary of a content: all that is stored so that nobody parses the message again."""

from __future__ import annotations

import re
from typing import NamedTuple

from libs.protocols.message.bodystructure import render
from libs.protocols.message.charset import decode_text, storable
from libs.protocols.message.date import parse_date
from libs.protocols.message.envelope import Envelope, envelope
from libs.protocols.message.header import Header
from libs.protocols.message.mime import Part, scan
from libs.protocols.message.parts import PartSpan, encode_parts, find_part
from libs.protocols.message.preview import preview
from libs.protocols.message.words import decode_words

__all__ = ["PartSpan", "Summary", "find_part", "summarise"]

MAX_TEXT = 998
"""Characters of the subject, the Message-ID and the author's address."""

MAX_ATTACHMENTS = 100
"""Attachments whose names are kept."""

MAX_REFS = 100
"""Message-IDs that a message refers to."""

MAX_NAME = 255
"""Characters of the name of an attachment."""

# Octets of a field that are decoded for MAX_TEXT characters: RFC 2047 needs at most 12 for one.
_RAW_TEXT = 16 * MAX_TEXT
_MAX_REFERENCES = 64 * 1024
_BREAKS = re.compile(r"[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+")
_MESSAGE_ID = re.compile(rb"<[^<>\s]++>")


class Summary(NamedTuple):
    """What is known of a message without its content.  All texts are storable, all in bounds."""

    envelope: bytes
    """ENVELOPE in wire form."""
    bodystructure: bytes
    """BODYSTRUCTURE in wire form."""
    body: bytes
    """BODY, the structure without extension data, in wire form."""
    header_size: int
    """Octets of the header section with the blank line."""
    message_id: str
    """The Message-ID with its angle brackets, or the empty string."""
    subject: str
    """Decoded."""
    sent_at: float | None
    """The Date field in seconds since 1970."""
    preview: str
    parts: bytes
    """The part tree, for `find_part`."""
    limited: str
    """Which limit was hit, or the empty string."""
    from_address: str
    """The first address of the author, or the empty string."""
    attachments: tuple[str, ...]
    """File names of the attachments; empty strings for those without a name."""
    thread_refs: str
    """The Message-IDs of References, or else the first one of In-Reply-To, separated by spaces."""


def summarise(content: bytes) -> Summary:
    """The summary of a message exactly as it was received; raises on no content."""
    structure = scan(content)
    root = structure.root
    header = root.header
    shown = envelope(header)
    wire = render(root)
    date = parse_date(header.first(b"date") or b"")
    return Summary(
        envelope=shown.wire,
        bodystructure=wire.bodystructure,
        body=wire.body,
        header_size=header.end,
        message_id=_message_id(header),
        subject=_line(decode_words((header.first(b"subject") or b"")[:_RAW_TEXT]), MAX_TEXT),
        sent_at=date.epoch if date else None,
        preview=preview(structure.content, root),
        parts=encode_parts(root),
        limited=structure.reason or ("addresses" if shown.cut or wire.cut else ""),
        from_address=_from_address(shown),
        attachments=_attachments(root),
        thread_refs=_thread_refs(header),
    )


def _line(text: str, limit: int) -> str:
    """Storable text on one line."""
    return storable(_BREAKS.sub(" ", text).strip())[:limit]


def _message_id(header: Header) -> str:
    value = header.first(b"message-id") or b""
    match = _MESSAGE_ID.search(value)
    return _line(decode_text((match[0] if match else value)[:_RAW_TEXT]), MAX_TEXT)


def _thread_refs(header: Header) -> str:
    """What threading goes by (RFC 5256 §3); of too many the first and the last ones stay."""
    found = _MESSAGE_ID.findall((header.first(b"references") or b"")[:_MAX_REFERENCES])
    if not found:
        found = _MESSAGE_ID.findall((header.first(b"in-reply-to") or b"")[:_RAW_TEXT])[:1]
    if len(found) > MAX_REFS:
        found = found[:1] + found[1 - MAX_REFS :]
    return storable(" ".join(decode_text(one[:MAX_TEXT]) for one in found))


def _from_address(shown: Envelope) -> str:
    for one in shown.author:
        if one.address:
            return _line(one.address, MAX_TEXT)
    return ""


def _attachments(root: Part) -> tuple[str, ...]:
    names: list[str] = []
    for part in root.walk():
        name = "" if part.is_multipart else part.filename
        if (name or part.disposition == "attachment") and len(names) < MAX_ATTACHMENTS:
            names.append(_line(name, MAX_NAME))
    return tuple(names)
