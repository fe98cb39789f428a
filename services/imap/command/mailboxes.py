"""NAMESPACE, LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE (RFC 9051 §6.3)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from libs.common.mailstore import Mailbox
from libs.protocols.imap.list import (
    List,
    parse_create,
    parse_list,
    parse_lsub,
    parse_status_items,
)
from libs.protocols.imap.parse import Parser
from libs.protocols.imap.pattern import matches
from services.imap.command import metadata
from services.imap.outcome import Done

if TYPE_CHECKING:
    from services.imap.session import Session

_SEPARATORS = re.compile("/")
_DELETED = frozenset(("DELETED", "DELETED-STORAGE"))
_CHILDINFO = frozenset(("SUBSCRIBED", "SPECIAL-USE"))


async def namespace(session: Session, parser: Parser) -> Done:
    """NAMESPACE (RFC 2342): one personal namespace."""
    parser.end()
    session.untagged(b'NAMESPACE (("" "/")) NIL NIL')
    return Done("that is all")


async def list_(session: Session, parser: Parser) -> Done:
    """LIST."""
    asked = parse_list(parser)
    if asked.patterns == ("",) and not asked.extended:
        # RFC 9051 §6.3.9: an empty pattern asks for the separator.
        session.untagged(b'LIST (\\Noselect) "/" ""')
        return Done("that is all")
    await _tell(session, b"LIST", asked)
    return Done("that is all")


async def lsub(session: Session, parser: Parser) -> Done:
    """LSUB: the subscribed ones."""
    await _tell(session, b"LSUB", parse_lsub(parser))
    return Done("that is all")


async def _tell(session: Session, word: bytes, asked: List) -> None:
    boxes = await session.gateway.store.mailboxes(session.owner().id)
    # One pass over the names, so that an account with thousands of mailboxes stays cheap.
    parents = {box.name[: at.start()] for box in boxes for at in _SEPARATORS.finditer(box.name)}
    selected = {box.name for box in boxes if _wanted(asked, box)}
    above = _above(selected) if "RECURSIVEMATCH" in asked.selection else frozenset()
    for box in boxes:
        if not (box.name in selected or box.name in above) or not _matches(asked, box.name):
            continue
        name = session.name(box.name)
        session.untagged(_line(word, box, name, asked, parents, below=box.name in above))
        if asked.status:
            await tell_status(session, box, asked.status)
        if asked.metadata:
            annotated = await session.gateway.store.annotations(box.account_id, box.id)
            wanted = [(entry, annotated.get(entry)) for entry in asked.metadata]
            metadata.tell(session, box.name, [(e, v) for e, v in wanted if v is not None])


def _wanted(asked: List, box: Mailbox) -> bool:
    if "SUBSCRIBED" in asked.selection and not box.subscribed:
        return False
    return "SPECIAL-USE" not in asked.selection or box.special_use != ""


def _above(names: Iterable[str]) -> frozenset[str]:
    """The names over these ones."""
    return frozenset(name[: at.start()] for name in names for at in _SEPARATORS.finditer(name))


def _matches(asked: List, name: str) -> bool:
    # INBOX is case-insensitive, also in a pattern (RFC 9051 §5.1).
    if name == "INBOX" and not asked.reference:
        return any(matches(pattern.upper(), name) for pattern in asked.patterns)
    return any(matches(asked.reference + pattern, name) for pattern in asked.patterns)


def _line(
    word: bytes, box: Mailbox, name: bytes, asked: List, parents: Container[str], *, below: bool
) -> bytes:
    words = ["\\HasChildren" if box.name in parents else "\\HasNoChildren"]
    if box.subscribed and asked.extended and "SUBSCRIBED" in asked.returned | asked.selection:
        words.append("\\Subscribed")
    if box.special_use:
        words.append(box.special_use)
    line = b'%b (%b) "/" %b' % (word, " ".join(words).encode(), name)
    # RFC 5258 §3.5: why a mailbox is listed that the selection alone would not have brought.
    chosen = b" ".join(b'"%b"' % item.encode() for item in sorted(asked.selection & _CHILDINFO))
    return line + (b' ("CHILDINFO" (%b))' % chosen if below and chosen else b"")


async def status(session: Session, parser: Parser) -> Done:
    """STATUS: from counters that are exact at every commit, no message is looked at."""
    parser.space()
    name = parser.mailbox()
    parser.space()
    items = parse_status_items(parser)
    parser.end()
    box = await session.box(name)
    if "HIGHESTMODSEQ" in items:
        session.use_condstore()
    await tell_status(session, box, items)
    return Done("that is all")


async def tell_status(session: Session, box: Mailbox, items: Iterable[str]) -> None:
    """The STATUS response of one mailbox."""
    count = octets = 0
    if not _DELETED.isdisjoint(items):
        count, octets = await session.gateway.store.deleted(box.id)
    values: dict[str, int | str] = {
        "DELETED": count,
        "DELETED-STORAGE": octets,
        "APPENDLIMIT": session.gateway.settings.max_append_octets,
        "MAILBOXID": f"({box.object_id})",
        "MESSAGES": box.messages,
        "UIDNEXT": box.uidnext,
        "UIDVALIDITY": box.uidvalidity,
        "UNSEEN": box.unseen,
        "RECENT": 0,
        "HIGHESTMODSEQ": box.highestmodseq,
        "SIZE": box.octets,
    }
    text = " ".join(f"{item} {values[item]}" for item in items)
    session.untagged(b"STATUS %b (%b)" % (session.name(box.name), text.encode()))


def _one_name(parser: Parser) -> str:
    parser.space()
    return parser.mailbox()


async def create(session: Session, parser: Parser) -> Done:
    """CREATE, with its special use if it has one (RFC 6154 §3)."""
    name, special_use = parse_create(parser)
    box = await session.gateway.store.create(session.owner().id, name, special_use)
    return Done("created", f"MAILBOXID ({box.object_id})")


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
