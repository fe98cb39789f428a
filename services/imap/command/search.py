"""SEARCH (RFC 9051 §6.4.4) and its responses (RFC 4731, RFC 5182, RFC 9394)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from libs.protocols.imap import write
from libs.protocols.imap.parse import Parser
from libs.protocols.imap.search import ModSeq, Results, parse_search
from services.imap.criteria import walk
from services.imap.find import find
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

_CHARSETS = ("", "UTF-8", "US-ASCII")
_REV2_RESULTS = Results(("ALL",))


async def search(session: Session, parser: Parser) -> Done:
    """SEARCH."""
    return await _search(session, parser, uid=False)


async def uid_search(session: Session, parser: Parser) -> Done:
    """UID SEARCH."""
    return await _search(session, parser, uid=True)


def check_charset(charset: str) -> None:
    """NO, when we do not know it."""
    if charset not in _CHARSETS:
        raise No("charsets are UTF-8 and US-ASCII", "BADCHARSET (UTF-8 US-ASCII)")


async def _search(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    session.needs_uid(uid=uid)
    asked = parse_search(parser)
    results = asked.results or (_REV2_RESULTS if session.rev2 else None)
    saving = results is not None and "SAVE" in results.words
    try:
        check_charset(asked.charset)
        found = await find(session, asked.key)
    except No:
        if saving:
            # RFC 5182 §2.1: a search that failed leaves nothing saved.
            session.saved = []
        raise
    if saving and results is not None:
        session.saved = to_save(results, found)
    modseq = b""
    if any(isinstance(key, ModSeq) for key in walk(asked.key)):
        session.use_condstore()
        if found:
            # RFC 7162 §3.1.5: the highest MODSEQ of all that was found.
            entries = session.selected().entries
            modseq = b"MODSEQ %d" % max(entries[number].modseq for number in found)
    numbers = found if uid else session.selected().numbers(found)
    if results is None:
        line = b" ".join([b"SEARCH", *(b"%d" % number for number in numbers)])
        session.untagged(line + (b" (%b)" % modseq if modseq else b""))
    elif not results.only_save:
        line = esearch(session.tag, results, numbers, uid=uid)
        session.untagged(line + (b" " + modseq if modseq else b""))
    return Done("found")


def to_save(results: Results, found: Sequence[int]) -> list[int]:
    """What `$` is after this search (RFC 5182 §2.4)."""
    words = set(results.words)
    if words & {"ALL", "COUNT"} or not words & {"MIN", "MAX", "PARTIAL"}:
        return list(found)
    kept = set(results.partial.of(found)) if results.partial else set()
    if found and "MIN" in words:
        kept.add(min(found))
    if found and "MAX" in words:
        kept.add(max(found))
    return sorted(kept)


def esearch(tag: str, results: Results, numbers: Sequence[int], *, uid: bool) -> bytes:
    """The ESEARCH response to SEARCH (ascending) or SORT (in their order).

    Without a match there is only a COUNT (RFC 4731 §3.1), and a PARTIAL of NIL.
    """
    words = results.words
    parts = [b"ESEARCH (TAG %b)" % write.string(tag.encode())]
    if uid:
        parts.append(b"UID")
    if numbers and "MIN" in words:
        parts.append(b"MIN %d" % numbers[0])
    if numbers and "MAX" in words:
        parts.append(b"MAX %d" % numbers[-1])
    if "COUNT" in words:
        parts.append(b"COUNT %d" % len(numbers))
    if numbers and "ALL" in words:
        parts.append(b"ALL " + write.number_set(numbers))
    if results.partial is not None:
        some = write.number_set(results.partial.of(numbers)) or b"NIL"
        parts.append(b"PARTIAL (%b %b)" % (str(results.partial).encode(), some))
    return b" ".join(parts)
