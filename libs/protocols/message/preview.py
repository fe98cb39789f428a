"""A few words of what a message says, for lists of messages; rough, bounded, and storable."""

from __future__ import annotations

import binascii
import re
from html.entities import name2codepoint
from itertools import islice

from libs.protocols.message.charset import decode_text, storable
from libs.protocols.message.mime import Part
from libs.protocols.message.words import decode_base64

MAX_PREVIEW = 200
"""Characters of a preview."""

MAX_TEXT_PARTS = 8
"""Text parts that are looked at for words."""

_PLAIN_OCTETS = 1_024
_HTML_OCTETS = 24_576
_ENOUGH = 600

# Any tag, the start of a comment, or of an element whose text is never shown.
_TAG = re.compile(r"<(?:(!--)|((?i:style|script|title))\b|[^>]*+>?)")
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}[0-9]{0,2}));?")
# Control characters, soft hyphens, and what mailers pad previews with.
_UNREADABLE = re.compile(
    r"[\0-\x1f\x7f-\x9f\xad\u034f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]"
)


def preview(content: bytes, root: Part) -> str:
    """The first words of the first text part that is no attachment, white space folded."""
    texts = (part for part in root.walk() if part.type == "text" and part.size)
    for part in islice(texts, MAX_TEXT_PARTS):
        if part.disposition != "attachment" and (text := _text(content, part)):
            return text
    return ""


def _text(content: bytes, part: Part) -> str:
    html = part.subtype == "html"
    stop = min(part.end, part.body_start + (_HTML_OCTETS if html else _PLAIN_OCTETS))
    text = decode_text(_decoded(content[part.body_start : stop], part.encoding), part.charset)
    if stop < part.end:
        # The cut may have split a character.
        text = text.rstrip("\ufffd")
    if html:
        text = _ENTITY.sub(_character, _strip_html(text))
    text = " ".join(text[:_ENOUGH].split())
    if not text.isprintable():
        text = " ".join(_UNREADABLE.sub(" ", text).split())
    return storable(text[:MAX_PREVIEW].rstrip())


def _decoded(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return decode_base64(data)
    return binascii.a2b_qp(data) if encoding == "quoted-printable" else data


def _strip_html(text: str) -> str:
    """The first words of a piece of HTML, for eyes only: this is no sanitiser."""
    at = max(text.find("<body"), 0)
    words: list[str] = []
    size = 0
    while size < _ENOUGH and (tag := _TAG.search(text, at)):
        said = " ".join(text[at : tag.start()].split())
        if said:
            words.append(said)
            size += len(said)
        at = tag.end()
        if tag[1] or tag[2]:
            at = _hidden_end(text, tag)
    words.append(text[at : at + _ENOUGH])
    return " ".join(words)


def _hidden_end(text: str, tag: re.Match[str]) -> int:
    """Where a comment or hidden element ends; the end of the text when it stays open."""
    # The same sign case as in the opening tag is enough: machines write these.
    end = "-->" if tag[1] else f"</{tag[2]}>"
    stop = text.find(end, tag.end())
    return len(text) if stop < 0 else stop + len(end)


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name:
        code = name2codepoint.get(name, 0)
        return chr(code) if code else match[0]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if 31 < code < 0x110000 else " "
