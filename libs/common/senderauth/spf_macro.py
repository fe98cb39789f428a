"""Macros of SPF (RFC 7208 §7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)(r?)([-.+,/_=]*)\})", re.IGNORECASE)
_LITERAL = re.compile(r"[!-$&-~]*+")
LETTERS = "slodiphv"
EXPLANATION_LETTERS = "crt"
_SIGNS = {"%": "%", "_": " ", "-": "%20"}
MAX_DOMAIN = 253


def check_macros(text: str, *, explanation: bool = False) -> None:
    """`ValueError` when a macro-string is wrong; `%{c}`, `%{r}`, `%{t}` are for explanations."""
    allowed = LETTERS + EXPLANATION_LETTERS if explanation else LETTERS
    if explanation:
        text = text.replace(" ", "")
    at = 0
    while at < len(text):
        literal = _LITERAL.match(text, at)
        at = literal.end() if literal else at
        if at == len(text):
            return
        match = _MACRO.match(text, at)
        if match is None or (match[2] and match[2].lower() not in allowed):
            raise ValueError(f"{text[at : at + 20]!r} is no macro")
        # §7.1: nobody has zero labels.
        if match[3] and int(match[3][:6]) == 0:
            raise ValueError("a macro of no labels")
        at = match.end()


def expand(text: str, values: Mapping[str, str]) -> str:
    """The macro-string with its values, which stand under their lower-case letters."""

    def one(match: re.Match[str]) -> str:
        sign, letter, count, backwards, delimiters = match.groups()
        if sign:
            return _SIGNS[sign]
        value = values[letter.lower()]
        if count or backwards or delimiters:
            value = _transform(value, count, bool(backwards), delimiters or ".")
        # §7.3: an upper-case letter asks for URL encoding.
        return quote(value, safe="-._~") if letter.isupper() else value

    return _MACRO.sub(one, text)


def _transform(value: str, count: str, backwards: bool, delimiters: str) -> str:
    parts = re.split(f"[{re.escape(delimiters)}]", value)
    if backwards:
        parts.reverse()
    if count:
        parts = parts[-int(count[:6]) :]
    return ".".join(parts)


def shortened(domain: str) -> str:
    """A domain made by macros, without labels on the left until it fits (§7.3)."""
    domain = domain.rstrip(".")
    while len(domain) > MAX_DOMAIN:
        _, dot, domain = domain.partition(".")
        if not dot:
            return ""
    return domain
