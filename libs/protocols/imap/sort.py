"""SORT and THREAD as they are asked (RFC 5256, RFC 5957, RFC 5267)."""

from __future__ import annotations

from dataclasses import dataclass

from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.search import Key, Results, parse_charset, parse_key, parse_results

CRITERIA = frozenset(
    ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO")
)
MAX_CRITERIA = 20


@dataclass(frozen=True, slots=True)
class Criterion:
    """One key to sort by."""

    name: str
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """A SORT command."""

    criteria: tuple[Criterion, ...]
    charset: str
    key: Key
    results: Results | None = None
    """None: the old response."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A THREAD command."""

    algorithm: str
    charset: str
    key: Key


def parse_sort(parser: Parser) -> Sort:
    """`RETURN (COUNT) (REVERSE DATE) UTF-8 ALL`, up to its end."""
    results = parse_results(parser)
    criteria = _criteria(parser)
    parser.space()
    charset = parse_charset(parser)
    return Sort(criteria, charset, parse_key(parser), results)


def parse_thread(parser: Parser) -> Thread:
    """`REFERENCES UTF-8 ALL`, up to its end."""
    algorithm = parser.atom()
    parser.space()
    charset = parse_charset(parser)
    return Thread(algorithm, charset, parse_key(parser))


def _criteria(parser: Parser) -> tuple[Criterion, ...]:
    parser.expect(b"(")
    found: list[Criterion] = []
    reverse = False
    while True:
        word = parser.atom()
        if word == "REVERSE" and not reverse:
            reverse = True
        elif word in CRITERIA:
            found.append(Criterion(word, reverse))
            reverse = False
        else:
            raise ParseError(f"unknown sort key {word[:40]}")
        if len(found) > MAX_CRITERIA:
            raise ParseError(f"at most {MAX_CRITERIA} sort keys")
        if not reverse and parser.take(b")"):
            return tuple(found)
        parser.space()
