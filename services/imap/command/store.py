"""STORE and EXPUNGE (RFC 9051 §6.4.3, §6.4.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from libs.common.mailstore import Entry, from_names
from libs.protocols.imap import write
from libs.protocols.imap.fetch import parse_unchangedsince
from libs.protocols.imap.parse import ParseError, Parser
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session

Mode = Literal["add", "remove", "replace"]
_MODES: dict[str, Mode] = {
    "+FLAGS": "add",
    "-FLAGS": "remove",
    "FLAGS": "replace",
}


async def store(session: Session, parser: Parser) -> Done:
    """STORE."""
    return await _store(session, parser, uid=False)


async def uid_store(session: Session, parser: Parser) -> Done:
    """UID STORE."""
    return await _store(session, parser, uid=True)


@dataclass(frozen=True, slots=True)
class Change:
    """What a STORE asks for."""

    mode: Mode
    flags: int
    keywords: str
    silent: bool
    unchangedsince: int | None

    def expected(self, entry: Entry) -> tuple[int, str]:
        """What the client takes the flags to be afterwards, if nobody else changed them."""
        if self.mode == "replace":
            return self.flags, self.keywords
        old, given = set(entry.keywords.split()), set(self.keywords.split())
        if self.mode == "add":
            return entry.flags | self.flags, " ".join(sorted(old | given))
        return entry.flags & ~self.flags, " ".join(sorted(old - given))


def _change(parser: Parser) -> Change:
    parser.space()
    unchangedsince = parse_unchangedsince(parser)
    word = parser.atom()
    mode = _MODES.get(word.removesuffix(".SILENT"))
    if mode is None:
        raise ParseError("STORE changes FLAGS, +FLAGS or -FLAGS")
    parser.space()
    try:
        flags, keywords = from_names(parser.flags())
    except ValueError as error:
        raise ParseError(str(error)) from error
    parser.end()
    return Change(mode, flags, keywords, word.endswith(".SILENT"), unchangedsince)


async def _store(session: Session, parser: Parser, *, uid: bool) -> Done:
    parser.space()
    ranges, by_uid = session.set_of(parser, uid=uid)
    change = _change(parser)
    view = session.writable()
    uids = view.select(ranges, uid=by_uid)
    if change.unchangedsince is not None:
        session.use_condstore()
    before = {uid: view.entries[uid] for uid in uids}
    entries, failed = await session.gateway.store.store(
        view.mailbox.id, uids, change.mode, change.flags, change.keywords, change.unchangedsince
    )
    for entry in entries:
        view.know(entry)
    await view.shared.refresh()
    session.tell_flags(e.uid for e in entries if _is_news(session, change, before[e.uid], e))
    if not failed:
        return Done("stored")
    numbers = failed if uid else [view.number(number) for number in failed]
    return Done("some had changed", f"MODIFIED {write.number_set(sorted(numbers)).decode()}")


def _is_news(session: Session, change: Change, before: Entry, after: Entry) -> bool:
    """SILENT spares the client what it knows; not what another client did in the meantime.

    A client with CONDSTORE is always told the new MODSEQ (RFC 7162 §3.1.3).
    """
    if not change.silent or session.condstore:
        return True
    return change.expected(before) != (after.flags, after.keywords)


async def expunge(session: Session, parser: Parser) -> Done:
    """EXPUNGE; the responses come with the news of the mailbox."""
    parser.end()
    view = session.writable()
    await session.gateway.store.expunge(view.mailbox.id, list(view.uids))
    return Done("expunged")


async def uid_expunge(session: Session, parser: Parser) -> Done:
    """UID EXPUNGE (RFC 4315 §2.1)."""
    parser.space()
    ranges, _ = session.set_of(parser, uid=True)
    parser.end()
    view = session.writable()
    await session.gateway.store.expunge(view.mailbox.id, view.select(ranges, uid=True))
    return Done("expunged")
