"""Comparators and match types (RFC 4790, 5228 §2.7, 5231, regex), in time linear in the value."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import re2

Normal = Callable[[str], str]

_UPPER = {n: n + 32 for n in range(ord("A"), ord("Z") + 1)}
_DIGITS = re.compile(r"[0-9]+")


def octet(text: str) -> str:
    """i;octet: as it is."""
    return text


def ascii_casemap(text: str) -> str:
    """i;ascii-casemap: ASCII letters alone lose their case."""
    return text.lower() if text.isascii() else text.translate(_UPPER)


def unicode_casemap(text: str) -> str:
    """i;unicode-casemap: title case by simple mapping, then decomposed (RFC 5051 §2)."""
    if text.isascii():
        return text.upper()
    titled = (one.title() for one in text)
    simple = (new if len(new) == 1 else old for new, old in zip(titled, text, strict=True))
    return unicodedata.normalize("NFKD", "".join(simple))


COMPARATORS: dict[str, Normal] = {
    "i;octet": octet,
    "i;ascii-casemap": ascii_casemap,
    "i;unicode-casemap": unicode_casemap,
}
NUMERIC = "i;ascii-numeric"


def numeric(text: str) -> float:
    """i;ascii-numeric: the leading digits; without any, positive infinity (RFC 4790 §9.1.1)."""
    match = _DIGITS.match(text)
    # Beyond this many digits all are equally much too large for anybody's counter.
    return int(match[0][:40]) if match else float("inf")


RELATIONS: dict[str, Callable[[float | str, float | str], bool]] = {
    "gt": lambda a, b: a > b,  # type: ignore[operator]
    "ge": lambda a, b: a >= b,  # type: ignore[operator]
    "lt": lambda a, b: a < b,  # type: ignore[operator]
    "le": lambda a, b: a <= b,  # type: ignore[operator]
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


class Glob:
    """`:matches`: `*` is any text, `?` one character, `\\` takes away their meaning."""

    def __init__(self, pattern: str, normal: Normal) -> None:
        self._segments: list[list[str | None]] = [[]]
        self._literals: list[str | None] = []
        escaped = False
        for one in pattern:
            if escaped or one not in "*?\\":
                self._segments[-1] += list(normal(one))
                escaped = False
            elif one == "\\":
                escaped = True
            elif one == "?":
                self._segments[-1].append(None)
            else:
                self._segments.append([])
        for segment in self._segments:
            known = [one for one in segment if one is not None]
            self._literals.append("".join(known) if len(known) == len(segment) else None)
        odd = (
            len(s) for s, known in zip(self._segments, self._literals, strict=True) if known is None
        )
        self.cost = max(odd, default=1)
        """How often a character of the value may be looked at: `?` needs a search by hand."""

    def match(self, value: str, original: str) -> list[str] | None:
        """The texts that the wildcards stand for, the whole first (RFC 5229 §3.2), or None.

        Each `*` takes as little as it can.  `original` gives the captured text its case.
        """
        if len(original) != len(value):
            original = value
        first, *rest = range(len(self._segments))
        if not self._at(first, value, 0) or (not rest and len(self._segments[0]) != len(value)):
            return None
        captured = [original]
        self._wild(first, original, 0, captured)
        at = len(self._segments[first])
        for n in rest:
            found = self._last(n, value, at) if n == rest[-1] else self._find(n, value, at)
            if found < 0:
                return None
            captured.append(original[at:found])
            self._wild(n, original, found, captured)
            at = found + len(self._segments[n])
        return captured

    def _wild(self, n: int, original: str, at: int, captured: list[str]) -> None:
        if self._literals[n] is None:
            segment = self._segments[n]
            captured += [original[at + i] for i, one in enumerate(segment) if one is None]

    def _at(self, n: int, value: str, at: int) -> bool:
        literal, segment = self._literals[n], self._segments[n]
        if literal is not None:
            return value.startswith(literal, at)
        if at + len(segment) > len(value):
            return False
        return all(one is None or value[at + i] == one for i, one in enumerate(segment))

    def _find(self, n: int, value: str, at: int) -> int:
        literal = self._literals[n]
        if literal is not None:
            return value.find(literal, at)
        last = len(value) - len(self._segments[n])
        return next((i for i in range(at, last + 1) if self._at(n, value, i)), -1)

    def _last(self, n: int, value: str, at: int) -> int:
        start = len(value) - len(self._segments[n])
        return start if start >= at and self._at(n, value, start) else -1


class Regex:
    """`:regex` by a linear-time engine: no pattern takes longer than the value is long."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        """Raises `ValueError` with the engine's reason."""
        options = re2.Options()
        options.case_sensitive = not ignore_case
        options.max_mem = 1 << 20
        options.log_errors = False
        try:
            self._pattern = re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0] if error.args else "not valid"
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(text) from None

    def match(self, value: str) -> list[str] | None:
        """The whole match and its groups, or None."""
        found = self._pattern.search(value)
        return [found.group(0), *(one or "" for one in found.groups())] if found else None
