"""Match type, comparator and keys of one test, made into one function when it is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libs.protocols.sieve.arguments import Arguments
from libs.protocols.sieve.compare import (
    COMPARATORS,
    NUMERIC,
    RELATIONS,
    Glob,
    Normal,
    Regex,
    numeric,
)
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.parse import fail
from libs.protocols.sieve.run import Run
from libs.protocols.sieve.text import Text

Values = Sequence[str]
One = Callable[[Run, str, str], bool]
"""Does this value, normal and as it is, match the key?"""


@dataclass(frozen=True, slots=True)
class Matcher:
    """What the values of a test are compared with."""

    normal: Normal | None
    """None: i;ascii-numeric, or a count; values are taken as they are."""
    keys: tuple[One | Text, ...]
    ready: bool
    """The keys hold no variables, so they were made ready when the script was compiled."""
    make: Callable[[str], One]
    counts: bool = False

    def matches(self, run: Run, values: Values, normal: Values | None = None) -> bool:
        """Whether any value matches any key; `normal`: the values as the comparator sees them."""
        if self.counts:
            values, normal = [str(len(values))], None
        keys = self._keys(run)
        if normal is None:
            normal = [self.normal(one) for one in values] if self.normal else values
        for one, original in zip(normal, values, strict=True):
            run.spend(len(one) * len(keys))
            for key in keys:
                if key(run, one, original):
                    return True
        return False

    def _keys(self, run: Run) -> Sequence[One]:
        if self.ready:
            return self.keys  # type: ignore[return-value]
        try:
            return [self.make(key(run)) for key in self.keys]  # type: ignore[call-arg,arg-type]
        except ValueError as error:
            raise RunFault(f"not a regular expression: {error}") from None


def matcher(arguments: Arguments, keys: Sequence[str | Text]) -> Matcher:
    """The matcher that the tags of a test ask for; `SieveError` where they do not fit."""
    kind = arguments.one_of(("is", "contains", "matches", "regex", "count", "value"), "is")
    comparator = arguments.comparator()
    if comparator == NUMERIC and kind in ("contains", "matches", "regex"):
        # RFC 4790 §9.1: the numeric comparator knows equality and order only.
        raise fail(f":{kind} cannot be used with {NUMERIC}", arguments.node.token)
    make = _maker(arguments, kind, comparator)
    counts = kind == "count"
    normal = None if counts or kind == "regex" else COMPARATORS.get(comparator)
    if any(callable(key) for key in keys):
        texts = tuple(key if callable(key) else _always(key) for key in keys)
        return Matcher(normal, texts, False, make, counts)
    try:
        ready = tuple(make(key) for key in keys if isinstance(key, str))
    except ValueError as error:
        raise fail(f"not a regular expression: {error}", arguments.node.token) from None
    return Matcher(normal, ready, True, make, counts)


def _always(text: str) -> Text:
    return lambda _: text


def _maker(arguments: Arguments, kind: str, comparator: str) -> Callable[[str], One]:
    normal = COMPARATORS.get(comparator, str)
    if kind in ("count", "value"):
        relation = arguments.constant(kind).lower()
        if relation not in RELATIONS:
            raise fail(f":{kind} needs one of {', '.join(RELATIONS)}", arguments.node.token)
        return _relation(relation, numeric if comparator == NUMERIC or kind == "count" else normal)
    if kind == "matches":
        return lambda key: _glob(key, normal)
    if kind == "regex":
        return lambda key: _regex(key, comparator != "i;octet")
    if kind == "contains":
        return lambda key: _contains(normal(key))
    return lambda key: _is(key, numeric if comparator == NUMERIC else normal, comparator == NUMERIC)


def _is(key: str, normal: Callable[[str], float | str], numbers: bool) -> One:
    wanted = normal(key)
    if numbers:
        return lambda _, value, __: numeric(value) == wanted
    return lambda _, value, __: value == wanted


def _contains(wanted: str) -> One:
    return lambda _, value, __: wanted in value


def _relation(relation: str, order: Callable[[str], float | str]) -> Callable[[str], One]:
    compare = RELATIONS[relation]

    def make(key: str) -> One:
        wanted = order(key)
        return lambda _, value, __: compare(order(value), wanted)

    return make


def _capture(run: Run, found: list[str] | None) -> bool:
    if found is None:
        return False
    most = run.limits.variable_characters
    # RFC 5229 §3.2: ${0} to ${9} at least.
    run.captured = [one[:most] for one in found[:32]]
    return True


def _glob(key: str, normal: Normal) -> One:
    pattern = Glob(key, normal)

    def match(run: Run, value: str, original: str) -> bool:
        if pattern.cost > 1:
            run.spend(4 * len(value) * pattern.cost)
        return _capture(run, pattern.match(value, original))

    return match


def _regex(key: str, ignore_case: bool) -> One:
    pattern = Regex(key, ignore_case)
    return lambda run, value, _: _capture(run, pattern.match(value))
