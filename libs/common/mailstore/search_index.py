"""Asking the index of SEARCH: which messages of a mailbox have a text in them?

Its answers are exact, for a document is the very text that a scan would look in.  What it does not
know (the newest messages, and what is too large or too odd) the caller scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select, text

from libs.common.db import Transaction
from libs.common.db.schema import mailbox, mailbox_message, search_document, search_progress
from libs.protocols.message.searchable import header_text

_TRIGRAM = 3
_MOST_TRIGRAMS = 40
_document = search_document.c


@dataclass(frozen=True, slots=True)
class Sought:
    """A text, case folded, and where it may stand."""

    text: str
    body_only: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """What the index knows of one mailbox."""

    upto: int
    """The last UID that it knows of."""
    opaque: frozenset[str]
    """Messages (by `mail_id`) of which it knows nothing."""
    found: tuple[frozenset[str], ...]
    """The messages that have each text."""


async def ask(transaction: Transaction, mailbox_id: int, sought: Sequence[Sought]) -> Answers:
    """What is known of these texts; `upto` is 0 where nothing is indexed."""
    # First how far it goes: documents that come meanwhile then do no harm.
    query = select(search_progress.c.uid, mailbox.c.account_id).join_from(
        search_progress, mailbox, mailbox.c.id == search_progress.c.mailbox_id
    )
    row = await transaction.one_or_none(query.where(search_progress.c.mailbox_id == mailbox_id))
    if row is None:
        return Answers(0, frozenset(), tuple(frozenset[str]() for _ in sought))
    upto, account_id = row
    query = select(_document.mail_id).where(_document.account_id == account_id, _document.opaque)
    opaque = frozenset(row.mail_id for row in await transaction.rows(query))
    found = []
    for one in sought:
        ids = await _having(transaction, account_id, one)
        if not one.body_only:
            ids |= await _in_prefix(transaction, mailbox_id, one.text)
        found.append(frozenset(ids))
    return Answers(upto, opaque, tuple(found))


async def _having(transaction: Transaction, account_id: int, sought: Sought) -> set[str]:
    places = (_document.body,) if sought.body_only else (_document.head, _document.body)
    query = select(_document.mail_id).where(_document.account_id == account_id)
    if transaction.dialect == "postgresql":
        pattern = f"%{_escaped(sought.text)}%"
        query = query.where(or_(*(place.like(pattern, escape="\\") for place in places)))
    else:
        query = query.where(or_(*(func.instr(place, sought.text) > 0 for place in places)))
        if (match := _match(sought.text)) and await _has_fts(transaction):
            candidates: Any = text("SELECT rowid FROM search_fts WHERE search_fts MATCH :match")
            query = query.where(_document.id.in_(candidates.bindparams(bindparam("match", match))))
    return {row.mail_id for row in await transaction.rows(query)}


def _escaped(pattern: str) -> str:
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern


def _match(sought: str) -> str:
    """All its trigrams, in any order; empty: it is too short to have one."""
    grams = {sought[at : at + _TRIGRAM] for at in range(len(sought) - _TRIGRAM + 1)}
    quoted = ('"' + gram.replace('"', '""') + '"' for gram in sorted(grams)[:_MOST_TRIGRAMS])
    return " AND ".join(quoted)


async def _has_fts(transaction: Transaction) -> bool:
    query = text("SELECT 1 FROM sqlite_master WHERE name = 'search_fts'")
    return await transaction.scalar(query) is not None


async def _in_prefix(transaction: Transaction, mailbox_id: int, sought: str) -> set[str]:
    """Messages that have it in the trace fields that we put in front of them."""
    row = mailbox_message.c
    query = select(row.mail_id, row.prefix).where(row.mailbox_id == mailbox_id, row.prefix != "")
    words = sought.split() if sought.isascii() else []
    if words:
        # They stand there as they are, unless something is encoded or folds to two letters.
        lower = func.lower(row.prefix)
        plain = and_(*(lower.contains(word, autoescape=True) for word in words))
        query = query.where(or_(plain, row.prefix.contains("=?"), row.prefix.contains("\xdf")))
    return {found.mail_id for found in await transaction.rows(query) if _has(found.prefix, sought)}


def _has(prefix: str, sought: str) -> bool:
    return sought in header_text(prefix.encode("latin-1", "replace")).casefold()
