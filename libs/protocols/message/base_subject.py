"""The base subject: what SORT and THREAD compare (RFC 5256 §2.1)."""

from __future__ import annotations

import re

_SPACES = re.compile(r"[ \t\r\n]+")
_TRAILER = re.compile(r"(?:\(fwd\)|[ \t])+\Z", re.IGNORECASE)
_BLOB = r"\[[^\[\]]*\][ \t]*"
_LEADER = re.compile(rf"(?:{_BLOB})*(?:re|fwd?)[ \t]*(?:{_BLOB})?:|[ \t]+", re.IGNORECASE)
_LEADING_BLOB = re.compile(_BLOB)
_FORWARDED = re.compile(r"\[fwd:(.*)\]\Z", re.IGNORECASE | re.DOTALL)
MAX_SUBJECT = 998
"""Characters that are looked at."""


def base_subject(subject: str) -> tuple[str, bool]:
    """(the base subject, is it a reply or forwarded) of a decoded subject."""
    text = _SPACES.sub(" ", subject[:MAX_SUBJECT])
    replied = False
    while True:
        text, trimmed = _trim(text)
        replied = replied or trimmed
        match = _FORWARDED.match(text)
        if match is None:
            return text, replied
        text, replied = match[1], True


def _trim(text: str) -> tuple[str, bool]:
    """Steps 2 to 5 of RFC 5256 §2.1."""
    shorter = _TRAILER.sub("", text)
    replied = "(fwd)" in text[len(shorter) :].lower()
    text = shorter
    while True:
        if match := _LEADER.match(text):
            replied = replied or bool(match[0].strip())
            text = text[match.end() :]
        elif (match := _LEADING_BLOB.match(text)) and match.end() < len(text):
            text = text[match.end() :]
        else:
            return text, replied
