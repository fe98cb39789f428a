"""What LIST asks for, in its old and its extended form (RFC 9051 §6.3.9, RFC 5258)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from libs.protocols.imap.metadata import parse_entries
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.pattern import MAX_WILDCARDS

STATUS_ITEMS = frozenset(
    (
        *("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "RECENT", "HIGHESTMODSEQ", "SIZE"),
        *("DELETED", "DELETED-STORAGE", "APPENDLIMIT", "MAILBOXID"),
    )
)
MAX_PATTERNS = 50
_SELECTION = frozenset(("SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"))
_RETURN_OPTIONS = frozenset(("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"))
_USE = re.compile(rb" \(USE \(", re.IGNORECASE)
_RETURN = re.compile(rb" RETURN \(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class List:
    """A LIST or LSUB command."""

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    """SUBSCRIBED, SPECIAL-USE, RECURSIVEMATCH, REMOTE: which mailboxes are wanted."""
    returned: frozenset[str] = frozenset()
    """SUBSCRIBED, CHILDREN, SPECIAL-USE: what is to be told of each."""
    status: tuple[str, ...] = ()
    """STATUS items of each (RFC 5819)."""
    metadata: tuple[str, ...] = ()
    """METADATA entries of each (RFC 9590)."""
    extended: bool = False


def parse_list(parser: Parser) -> List:
    """The arguments of LIST."""
    parser.space()
    selection, extended = frozenset[str](), False
    if parser.take(b"("):
        selection, extended = _options(parser, _SELECTION), True
        parser.space()
    if selection and not selection - {"RECURSIVEMATCH", "REMOTE"} and "RECURSIVEMATCH" in selection:
        raise ParseError("RECURSIVEMATCH needs another selection (RFC 5258 §3.1)")
    reference = parser.mailbox()
    parser.space()
    patterns = [parser.pattern()] if not parser.peek(b"(") else _patterns(parser)
    extended = extended or len(patterns) > 1
    found = List(reference, tuple(patterns), selection, extended=extended)
    if parser.try_match(_RETURN):
        found = _returned(parser, found)
    parser.end()
    _check(reference, patterns)
    return found


def parse_lsub(parser: Parser) -> List:
    """The arguments of LSUB."""
    parser.space()
    reference = parser.mailbox()
    parser.space()
    patterns = [parser.pattern()]
    parser.end()
    _check(reference, patterns)
    return List(reference, tuple(patterns), frozenset(("SUBSCRIBED",)))


def parse_status_items(parser: Parser) -> tuple[str, ...]:
    """`(MESSAGES UIDNEXT)`."""
    parser.expect(b"(")
    items: dict[str, None] = {}
    while not parser.take(b")"):
        item = parser.atom()
        if item not in STATUS_ITEMS:
            raise ParseError(f"unknown STATUS item {item[:40]}")
        items[item] = None
        if not parser.peek(b")"):
            parser.space()
    return tuple(items)


def parse_create(parser: Parser) -> tuple[str, str]:
    """(name, special use) of CREATE: `name (USE (\\Sent))` (RFC 6154 §3)."""
    parser.space()
    name = parser.mailbox()
    use = ""
    if parser.try_match(_USE):
        use = parser.flag().capitalize() if not parser.peek(b")") else ""
        if not parser.take(b"))"):
            raise ParseError("a mailbox has one special use at most")
    parser.end()
    return name, "\\" + use[1:].capitalize() if use else ""


def _check(reference: str, patterns: list[str]) -> None:
    wildcards = sum(sign in "*%" for text in (reference, *patterns) for sign in text)
    if wildcards > MAX_WILDCARDS or len(patterns) > MAX_PATTERNS:
        raise ParseError(f"at most {MAX_WILDCARDS} wildcards in {MAX_PATTERNS} patterns")


def _patterns(parser: Parser) -> list[str]:
    parser.expect(b"(")
    found = [parser.pattern()]
    while parser.take(b" "):
        found.append(parser.pattern())
    parser.expect(b")")
    return found


def _options(parser: Parser, known: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    while not parser.take(b")"):
        found.add(_option(parser, known))
        if not parser.peek(b")"):
            parser.space()
    return frozenset(found)


def _option(parser: Parser, known: frozenset[str]) -> str:
    word = parser.atom()
    if word not in known:
        raise ParseError(f"unknown LIST option {word[:40]}")
    return word


def _returned(parser: Parser, asked: List) -> List:
    found: set[str] = set()
    status: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    while not parser.take(b")"):
        word = _option(parser, _RETURN_OPTIONS | {"STATUS", "METADATA"})
        if word == "STATUS":
            parser.space()
            status = parse_status_items(parser)
        elif word == "METADATA":
            parser.space()
            metadata = parse_entries(parser)
        else:
            found.add(word)
        if not parser.peek(b")"):
            parser.space()
    return replace(
        asked, returned=frozenset(found), status=status, metadata=metadata, extended=True
    )
