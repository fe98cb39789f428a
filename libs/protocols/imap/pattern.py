"""LIST patterns: `*` is anything, `%` anything within one level (RFC 9051 §6.3.9)."""

from __future__ import annotations

from functools import lru_cache

SEPARATOR = "/"
MAX_WILDCARDS = 50
"""Wildcards in one pattern; more are refused."""


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[str, ...]:
    out: list[str] = []
    for sign in pattern:
        # `**`, `*%` and `%*` match just what `*` does.
        if sign in "*%" and out and out[-1] in ("*", "%"):
            out[-1] = "*" if "*" in (sign, out[-1]) else "%"
        else:
            out.append(sign)
    return tuple(out)


def matches(pattern: str, name: str) -> bool:
    """Does the name match?  Time is linear in pattern times name, whatever the wildcards."""
    parts = _parts(pattern)
    # States of a small automaton: how far into the pattern each way through it has come.
    states = _closure({0}, parts)
    for sign in name:
        moved: set[int] = set()
        for at in states:
            if at == len(parts):
                continue
            part = parts[at]
            if part == "*" or (part == "%" and sign != SEPARATOR):
                moved.add(at)
            elif part == sign:
                moved.add(at + 1)
        states = _closure(moved, parts)
        if not states:
            return False
    return len(parts) in states


def _closure(states: set[int], parts: tuple[str, ...]) -> set[int]:
    more = {at + 1 for at in states if at < len(parts) and parts[at] in ("*", "%")}
    return states | more
