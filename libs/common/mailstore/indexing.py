"""Writing the index of SEARCH, some messages at a time, whenever there is time for it.

A mailbox is indexed in the order of its UIDs, which is that of commits, so one number says how
far it is.  Documents and that number are written together; two writers at once do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, literal, select, update
from sqlalchemy.exc import IntegrityError

from libs.common.blobstore.protocol import BlobCorrupt, BlobMissing, BlobRef, BlobStore
from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import (
    mailbox,
    mailbox_message,
    message,
    search_document,
    search_progress,
)
from libs.common.runtime.failpoint import failpoint
from libs.protocols.message.disguise import disguise
from libs.protocols.message.searchable import Document, document

AT_ONCE = 50
"""Messages of one step."""
MAX_OCTETS = 32 * 1024 * 1024
"""Larger messages are not read for the index."""
_STEP_OCTETS = 16 * 1024 * 1024
_upto = func.coalesce(search_progress.c.uid, 0)


async def behind(transaction: Transaction, ids: Sequence[int] | None = None) -> list[int]:
    """Mailboxes with messages that are not indexed: of these, or of all."""
    query = (
        select(mailbox.c.id)
        .outerjoin_from(mailbox, search_progress, search_progress.c.mailbox_id == mailbox.c.id)
        .where(mailbox.c.uidnext > _upto + 1)
    )
    if ids is not None:
        query = query.where(in_list(mailbox.c.id, ids, transaction.dialect))
    return [row.id for row in await transaction.rows(query.order_by(mailbox.c.id))]


async def index_some(database: Database, blobs: BlobStore, mailbox_id: int) -> bool:
    """Index the next messages of a mailbox; whether there were any.

    `BlobError` when the store does not answer.
    """
    async with database.reading() as transaction:
        rows, upto = await _next(transaction, mailbox_id)
    if not upto:
        return False
    documents = []
    for row in rows:
        made = await _document(blobs, row)
        documents.append(
            {
                "account_id": row.account_id,
                "mail_id": row.mail_id,
                "opaque": made is None,
                "head": made.head if made else "",
                "body": made.body if made else "",
            }
        )

    async def work(transaction: Transaction) -> None:
        await transaction.insert(search_document, documents, ignore=True)
        await _note(transaction, mailbox_id, upto)
        await failpoint("search.before_commit")

    try:
        await database.retry(work)
    except IntegrityError:
        # A message or the mailbox went meanwhile: what is left is looked at again.
        return True
    return True


async def _next(transaction: Transaction, mailbox_id: int) -> tuple[Sequence[Any], int]:
    """The messages that lack a document, and the UID up to which that is all; 0: none is new."""
    query = select(_upto.label("upto"), mailbox.c.uidnext, mailbox.c.account_id).outerjoin_from(
        mailbox, search_progress, search_progress.c.mailbox_id == mailbox.c.id
    )
    state = await transaction.one_or_none(query.where(mailbox.c.id == mailbox_id))
    if state is None or state.uidnext <= state.upto + 1:
        return [], 0
    found = await transaction.rows(_new(mailbox_id, state.account_id, state.upto))
    # What has a UID below UIDNEXT is there, or is gone for ever (I3).
    upto = state.uidnext - 1 if len(found) < AT_ONCE else found[-1].uid
    rows: dict[str, Any] = {}
    octets = 0
    for row in found:
        if row.document is None:
            rows[row.mail_id] = row  # twice in a mailbox, it has one document
            octets += row.size
        if octets > _STEP_OCTETS:
            return list(rows.values()), row.uid
    return list(rows.values()), upto


def _new(mailbox_id: int, account_id: int, upto: int) -> Select[Any]:
    columns = ("segment", "record_offset", "record_length", "size", "disguised")
    return (
        select(
            mailbox_message.c.uid,
            mailbox_message.c.mail_id,
            literal(account_id).label("account_id"),
            search_document.c.id.label("document"),
            *(message.c[name] for name in columns),
        )
        .join_from(mailbox_message, message, message.c.mail_id == mailbox_message.c.mail_id)
        .outerjoin(
            search_document,
            (search_document.c.mail_id == mailbox_message.c.mail_id)
            & (search_document.c.account_id == account_id),
        )
        .where(mailbox_message.c.mailbox_id == mailbox_id, mailbox_message.c.uid > upto)
        .order_by(mailbox_message.c.uid)
        .limit(AT_ONCE)
    )


async def _document(blobs: BlobStore, row: Any) -> Document | None:
    if row.size > MAX_OCTETS:
        return None
    ref = BlobRef(row.segment, row.record_offset, row.record_length)
    try:
        content = await blobs.read_range(ref, 0, row.size)
    except (BlobMissing, BlobCorrupt):
        return None  # `holub fsck` finds it; a search that needs it will say so
    # As IMAP shows it, and so as a scan would read it.
    shown = disguise(content, 0, tuple(map(int, row.disguised.split())))
    return await asyncio.to_thread(document, shown)


async def _note(transaction: Transaction, mailbox_id: int, upto: int) -> None:
    row = {"mailbox_id": mailbox_id, "uid": upto}
    if await transaction.insert_new(search_progress, [row], ("mailbox_id",)):
        return
    lower = (search_progress.c.mailbox_id == mailbox_id, search_progress.c.uid < upto)
    await transaction.execute(update(search_progress).where(*lower).values(uid=upto))
