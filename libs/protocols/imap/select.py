"""The parameters of SELECT and EXAMINE (RFC 4466 §2.1): CONDSTORE and QRESYNC (RFC 7162)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from libs.protocols.imap.parse import LAST, ParseError, Parser, Ranges


@dataclass(frozen=True, slots=True)
class Resync:
    """What the client still knows of the mailbox (RFC 7162 §3.2.5)."""

    uidvalidity: int
    modseq: int
    known: Ranges | None = None
    """The UIDs that it knows, ascending and apart; None: all up to now."""

    def knows(self, uid: int) -> bool:
        """Does the client want to hear of this UID?"""
        if self.known is None:
            return True
        at = bisect_right(self.known, (uid, LAST))
        return at > 0 and self.known[at - 1][1] >= uid


@dataclass(frozen=True, slots=True)
class SelectParameters:
    """What stands after the mailbox name."""

    condstore: bool = False
    qresync: Resync | None = None


def parse_parameters(parser: Parser) -> SelectParameters:
    """` (CONDSTORE)` or ` (QRESYNC (1 90060115194045000 41:211))`, if it is there."""
    if not parser.take(b" ("):
        return SelectParameters()
    condstore, qresync = False, None
    while True:
        match parser.atom():
            case "CONDSTORE":
                condstore = True
            case "QRESYNC":
                parser.space()
                qresync = _resync(parser)
            case word:
                raise ParseError(f"unknown parameter {word[:40]}")
        if parser.take(b")"):
            return SelectParameters(condstore, qresync)
        parser.space()


def _resync(parser: Parser) -> Resync:
    parser.expect(b"(")
    uidvalidity = parser.number()
    parser.space()
    modseq = parser.number()
    known = None
    if parser.take(b" "):
        if not parser.peek(b"("):
            known = _known(parser)
        if parser.peek(b"(") or parser.take(b" "):
            _sequence_match(parser)
    parser.expect(b")")
    return Resync(uidvalidity, modseq, known)


def _known(parser: Parser) -> Ranges:
    ranges = sorted(parser.sequence_set())
    if any(b[0] <= a[1] for a, b in pairwise(ranges)):
        raise ParseError("the known UIDs overlap")
    return tuple(ranges)


def _sequence_match(parser: Parser) -> None:
    """Which number has which UID: only a server that forgets what was expunged needs it."""
    parser.expect(b"(")
    parser.sequence_set()
    parser.space()
    parser.sequence_set()
    parser.expect(b")")
