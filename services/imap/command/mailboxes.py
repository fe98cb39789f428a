"""NAMESPACE, LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE (RFC 9051 §6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from libs.common.mailstore import Mailbox
from libs.protocols.imap import write
from libs.protocols.imap.parse import ParseError, Parser
from libs.protocols.imap.pattern import MAX_WILDCARDS, SEPARATOR, matches
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

_STATUS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "RECENT", "HIGHESTMODSEQ", "SIZE")


async def namespace(session: Session, parser: Parser) -> Done:
    """NAMESPACE (RFC 2342): one personal namespace."""
    parser.end()
    session.untagged(b'NAMESPACE (("" "/")) NIL NIL')
    return Done("that is all")


async def list_(session: Session, parser: Parser) -> Done:
    """LIST."""
    reference, pattern = _list_arguments(parser)
    if not pattern:
        # RFC 9051 §6.3.9: an empty pattern asks for the separator.
        session.untagged(b'LIST (\\Noselect) "/" ""')
        return Done("that is all")
    boxes = await session.gateway.store.mailboxes(session.owner().id)
    for box in boxes:
        if matches(reference + pattern, box.name):
            session.untagged(_list_line(b"LIST", box, boxes))
    return Done("that is all")


async def lsub(session: Session, parser: Parser) -> Done:
    """LSUB: the subscribed ones."""
    reference, pattern = _list_arguments(parser)
    boxes = await session.gateway.store.mailboxes(session.owner().id)
    for box in boxes:
        if box.subscribed and matches(reference + pattern, box.name):
            session.untagged(_list_line(b"LSUB", box, boxes))
    return Done("that is all")


def _list_arguments(parser: Parser) -> tuple[str, str]:
    parser.space()
    reference = parser.mailbox()
    parser.space()
    pattern = parser.pattern()
    parser.end()
    if sum(sign in "*%" for sign in reference + pattern) > MAX_WILDCARDS:
        raise ParseError(f"at most {MAX_WILDCARDS} wildcards")
    if pattern.upper() == "INBOX":
        pattern = "INBOX"
    return reference, pattern


def _list_line(word: bytes, box: Mailbox, boxes: Iterable[Mailbox]) -> bytes:
    below = any(other.name.startswith(box.name + SEPARATOR) for other in boxes)
    words = ["\\HasChildren" if below else "\\HasNoChildren"]
    if box.special_use:
        words.append(box.special_use)
    return b'%b (%b) "/" %b' % (word, " ".join(words).encode(), write.mailbox(box.name))


async def status(session: Session, parser: Parser) -> Done:
    """STATUS: from counters that are exact at every commit, no message is looked at."""
    parser.space()
    name = parser.mailbox()
    parser.space()
    parser.expect(b"(")
    items = []
    while not parser.take(b")"):
        items.append(parser.atom())
        if items[-1] not in _STATUS:
            raise ParseError(f"unknown STATUS item {items[-1][:40]}")
        if not parser.peek(b")"):
            parser.space()
    parser.end()
    box = await session.gateway.store.mailbox(session.owner().id, name)
    if box is None:
        raise No(f"there is no mailbox {name!r}", "NONEXISTENT")
    values = {
        "MESSAGES": box.messages,
        "UIDNEXT": box.uidnext,
        "UIDVALIDITY": box.uidvalidity,
        "UNSEEN": box.unseen,
        "RECENT": 0,
        "HIGHESTMODSEQ": box.highestmodseq,
        "SIZE": box.octets,
    }
    text = " ".join(f"{item} {values[item]}" for item in items)
    session.untagged(b"STATUS %b (%b)" % (write.mailbox(box.name), text.encode()))
    return Done("that is all")


def _one_name(parser: Parser) -> str:
    parser.space()
    return parser.mailbox()


async def create(session: Session, parser: Parser) -> Done:
    """CREATE."""
    name = _one_name(parser)
    parser.end()
    await session.gateway.store.create(session.owner().id, name)
    return Done("created")


async def delete(session: Session, parser: Parser) -> Done:
    """DELETE."""
    name = _one_name(parser)
    parser.end()
    await session.gateway.store.delete(session.owner().id, name)
    return Done("deleted")


async def rename(session: Session, parser: Parser) -> Done:
    """RENAME."""
    old = _one_name(parser)
    new = _one_name(parser)
    parser.end()
    await session.gateway.store.rename(session.owner().id, old, new)
    return Done("renamed")


async def subscribe(session: Session, parser: Parser) -> Done:
    """SUBSCRIBE."""
    name = _one_name(parser)
    parser.end()
    await session.gateway.store.subscribe(session.owner().id, name, True)
    return Done("subscribed")


async def unsubscribe(session: Session, parser: Parser) -> Done:
    """UNSUBSCRIBE."""
    name = _one_name(parser)
    parser.end()
    await session.gateway.store.subscribe(session.owner().id, name, False)
    return Done("unsubscribed")
