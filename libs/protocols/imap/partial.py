"""PARTIAL ranges: so many of the results, counted from the first or from the last (RFC 9394)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from libs.protocols.imap.parse import ParseError, Parser

T = TypeVar("T")
_PARTIAL = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Partial:
    """The results from `low` to `high`, both included, the first being 1."""

    low: int
    high: int
    from_last: bool = False
    """The last result is 1, and so on backwards."""

    def of(self, results: Sequence[T]) -> Sequence[T]:
        """Those of the results that are in the range, in their order."""
        if self.from_last:
            count = len(results)
            return results[max(count - self.high, 0) : max(count - self.low + 1, 0)]
        return results[self.low - 1 : self.high]

    def __str__(self) -> str:
        sign = "-" if self.from_last else ""
        return f"{sign}{self.low}:{sign}{self.high}"


def parse_partial(parser: Parser) -> Partial:
    """`1:100` or `-1:-100`."""
    match = parser.match(_PARTIAL, "a range like 1:100 or -1:-100")
    if match[1] != match[3]:
        raise ParseError("both ends of a range count from the same side (RFC 9394 §3.1)")
    low, high = sorted((int(match[2]), int(match[4])))
    return Partial(low, high, bool(match[1]))
