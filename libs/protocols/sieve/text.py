"""Strings of a script: encoded characters and variables (RFC 5228 §2.4.2.4, RFC 5229 §3)."""

from __future__ import annotations

import re
from collections.abc import Callable

from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.run import GLOBAL, Run

Text = Callable[[Run], str]

MAX_EXPANDED = 65_536
"""Characters of one string after its variables are filled in."""

_ENCODED = re.compile(r"\$\{(hex|unicode):([ \t\r\n]*(?:[0-9a-f]+[ \t\r\n]*)+)\}", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*|[0-9]{1,9})\}")


class WrongText(ValueError):
    """The string cannot be used; the words say why."""


def decode_characters(text: str) -> str:
    """`${hex:24 24}` and `${unicode:40}` as what they stand for; what is not well-formed stays."""
    return _ENCODED.sub(_decoded, text)


def _decoded(match: re.Match[str]) -> str:
    numbers = [int(digits, 16) for digits in match[2].split()]
    if match[1].lower() == "hex":
        if any(len(digits) > 2 for digits in match[2].split()):
            return match[0]
        # Octets that are no UTF-8 have no character; U+FFFD says so.
        return bytes(numbers).decode("utf-8", "replace")
    if any(number > 0x10FFFF or 0xD800 <= number <= 0xDFFF for number in numbers):
        raise WrongText("no such Unicode character")
    return "".join(map(chr, numbers))


def has_variables(text: str) -> bool:
    """Whether something in it is replaced while the script runs."""
    return _VARIABLE.search(text) is not None


def template(text: str, shared: bool = False) -> Text:
    """The string as a function of the run; `WrongText` for a namespace that there is not."""
    pieces: list[str | int] = []
    names: list[str] = []
    at = 0
    for match in _VARIABLE.finditer(text):
        own = match[1].lower().removeprefix(GLOBAL) if shared else match[1]
        if "." in own:
            # RFC 5229 §3: a namespace that no extension defines is an error.
            raise WrongText(f"unknown namespace in ${{{match[1]}}}")
        pieces += [text[at : match.start()], len(names)]
        names.append(match[1].lower())
        at = match.end()
    pieces.append(text[at:])

    def expand(run: Run) -> str:
        values = [_value(run, name) for name in names]
        length = sum(map(len, values))
        run.spend(length)
        if length > MAX_EXPANDED:
            raise RunFault(f"variables make a string longer than {MAX_EXPANDED} characters")
        return "".join(one if isinstance(one, str) else values[one] for one in pieces)

    return expand


def _value(run: Run, name: str) -> str:
    if not name.isdigit():
        return run.get(name)
    number = int(name)
    return run.captured[number] if number < len(run.captured) else ""


_ORDER = ("lower", "upper", "lowerfirst", "upperfirst", "quotewildcard", "quoteregex", "length")
PRECEDENCE = {
    "lower": 40,
    "upper": 40,
    "lowerfirst": 30,
    "upperfirst": 30,
    "quotewildcard": 20,
    "quoteregex": 20,
    "length": 10,
}
"""RFC 5229 §4.1: the higher first; two of one precedence are an error."""

_MODIFIERS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "lowerfirst": lambda text: text[:1].lower() + text[1:],
    "upperfirst": lambda text: text[:1].upper() + text[1:],
    "quotewildcard": lambda text: re.sub(r"([*?\\])", r"\\\1", text),
    "quoteregex": lambda text: re.sub(r"([\\^$.\[\]|()*+?{}])", r"\\\1", text),
    "length": lambda text: str(len(text)),
}


def modify(text: str, modifiers: frozenset[str]) -> str:
    """The value of `set` with its modifiers applied."""
    for name in _ORDER:
        if name in modifiers:
            text = _MODIFIERS[name](text)
    return text
