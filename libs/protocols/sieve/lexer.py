"""The words of a script (RFC 5228 §8.1), each with its place; linear in the script's length."""

from __future__ import annotations

import re
from typing import NamedTuple

from libs.protocols.sieve.fault import SieveError

MAX_SCRIPT_OCTETS = 256 * 1024
"""Octets of one script."""

MAX_NUMBER = 2**63 - 1
"""RFC 5228 §2.4.1 asks for 2**31 - 1 at least."""

# Possessive quantifiers keep each step linear.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]++)
      | (?P<comment>\#[^\n]*+ | /\*(?:[^*]++|\*(?!/))*+\*/)
      | (?P<multi>text:[ \t]*+(?:\#[^\r\n]*+)?\r?\n)
      | (?P<tag>:[A-Za-z_][A-Za-z0-9_]*+)
      | (?P<number>[0-9]++[KMGkmg]?)(?![A-Za-z0-9_])
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*+)
      | "(?P<string>(?:[^"\\\0]++|\\[^\0])*+)"
      | (?P<mark>[\[\](){};,])""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_MULTI_END = re.compile(r"^\.\r?(?:\n|\Z)", re.MULTILINE)
_QUOTED = re.compile(r"\\(.)", re.DOTALL)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


class Token(NamedTuple):
    """One word."""

    kind: str
    """`word`, `tag`, `number`, `string`, `mark` or `end`."""
    text: str
    """Words and tags in lower case, tags without their colon; strings without quoting."""
    value: int
    """Of a number, its multiplier applied; else 0."""
    line: int
    column: int


def tokens(script: str) -> list[Token]:
    """All words of a script, the last one of kind `end`; `SieveError` where there is none."""
    found: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(script):
        column = at - line_start + 1
        match = _TOKEN.match(script, at)
        if match is None:
            raise SieveError(_unknown(script, at), line, column)
        end = match.end()
        kind = match.lastgroup or ""
        if kind == "multi":
            text, end = _multi_line(script, end, line, column)
            found.append(Token("string", text, 0, line, column))
        elif kind not in ("space", "comment"):
            found.append(_token(kind, match[kind], line, column))
        breaks = script.count("\n", at, end)
        if breaks:
            line, line_start = line + breaks, script.rindex("\n", at, end) + 1
        at = end
    found.append(Token("end", "", 0, line, at - line_start + 1))
    return found


def _token(kind: str, text: str, line: int, column: int) -> Token:
    if kind == "tag":
        return Token(kind, text[1:].lower(), 0, line, column)
    if kind == "word":
        return Token(kind, text.lower(), 0, line, column)
    if kind == "string":
        return Token(kind, _QUOTED.sub(r"\1", text) if "\\" in text else text, 0, line, column)
    if kind == "number":
        digits = text.rstrip("KMGkmg")
        value = int(digits) if len(digits) < 20 else MAX_NUMBER + 1
        value *= _UNITS.get(text[-1].upper(), 1)
        if value > MAX_NUMBER:
            raise SieveError(f"the number is above {MAX_NUMBER}", line, column)
        return Token(kind, text, value, line, column)
    return Token(kind, text, 0, line, column)


def _multi_line(script: str, start: int, line: int, column: int) -> tuple[str, int]:
    """The text up to the line that is a single dot, and where that line ends."""
    end = _MULTI_END.search(script, start)
    if end is None:
        raise SieveError('"text:" is not ended by a line with a single dot', line, column)
    text = script[start : end.start()]
    # RFC 5228 §2.4.2: dot-stuffed, as in SMTP.
    return re.sub(r"^\.(?=.)", "", text, flags=re.MULTILINE), end.end()


def _unknown(script: str, at: int) -> str:
    if script[at] == '"':
        return "the string is not closed"
    if script.startswith("/*", at):
        return "the comment is not closed"
    return f"{script[at]!r} has no meaning here"
