"""Does a text occur in a message, as a person would read it?  For IMAP SEARCH and its index.

TEXT is what stands in any header, also of a part (so the name of an attachment), or in a text
part; BODY is what stands in a text part (RFC 9051 §6.4.4).  Encodings are taken off, and case
does not count.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass

from libs.protocols.message.charset import decode_text
from libs.protocols.message.header import MAX_HEADER_OCTETS, parse_header, unfold
from libs.protocols.message.mime import Part, scan
from libs.protocols.message.words import decode_base64, decode_words

MAX_DOCUMENT = 1_000_000
"""Characters of a message that are kept for an index; a longer one is read when it is searched."""

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
# Neither has a place in a database as text.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_NEVER_SOUGHT = re.compile("[\0-\x1f\ufffd\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """All that is searched in a message, case folded."""

    head: str
    body: str


def document(content: bytes) -> Document | None:
    """What an index keeps, so that `seekable` texts are found in it as `contains` finds them.

    None where only `contains` can tell: too much text, or a content so odd that fields put in
    front of it (as IMAP shows it) may change how it is read.
    """
    structure = scan(content)
    if structure.limited or not _FIELD.match(content):
        return None
    if structure.root.body_start > MAX_HEADER_OCTETS // 2:
        return None
    # Joined by what is never sought, for nothing is found across two parts.
    head = "\n".join(_heads(content, structure.root)).casefold()
    body = "\n".join(_texts(content, structure.root)).casefold()
    if len(head) + len(body) > MAX_DOCUMENT:
        return None
    return Document(_NO_TEXT.sub("\ufffd", head), _NO_TEXT.sub("\ufffd", body))


def seekable(text: str) -> str | None:
    """The text as it is sought in a `Document`, or None: it must be sought with `contains`."""
    folded = text.casefold()
    return None if not folded or _NEVER_SOUGHT.search(folded) else folded


def header_text(header: bytes) -> str:
    """Fields without their folds, one a line, encoded words decoded."""
    unfolded = _FOLD.sub(b"", header)
    if b"=?" not in unfolded and unfolded.isascii():
        return unfolded.decode("ascii")
    return "\n".join(decode_words(line) for line in unfolded.split(b"\n"))


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
    """The text occurs in a text part, or (unless `body_only`) in a header, decoded."""
    folded = text.casefold()
    root = scan(content).root
    if not body_only and any(folded in head.casefold() for head in _heads(content, root)):
        return True
    return any(folded in part.casefold() for part in _texts(content, root))


def _heads(content: bytes, root: Part) -> Iterator[str]:
    for part in root.walk():
        yield header_text(content[part.start : part.body_start])
        # It may be written in a way that only its parameter can be decoded of (RFC 2231 §4).
        yield part.filename


def _texts(content: bytes, root: Part) -> Iterator[str]:
    for part in root.walk():
        if part.type == "text" and not part.children:
            data = _decoded(content[part.body_start : part.end], part.encoding)
            yield decode_text(data, part.charset)


def _decoded(data: bytes, encoding: str) -> bytes:
    try:
        if encoding == "base64":
            return decode_base64(data)
        if encoding == "quoted-printable":
            return quopri.decodestring(data)
    except (binascii.Error, ValueError):
        return data
    return data
