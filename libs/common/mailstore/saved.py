"""Records of saved messages (APPEND) whose rows are gone, given a row again."""

from __future__ import annotations

import asyncio
import hashlib

from sqlalchemy import select

from libs.common.blobstore.protocol import BlobRef, BlobStore
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, message
from libs.common.jobs import RecordHeader
from libs.common.mailstore.append import Addition, add, lock_accounts
from libs.common.mailstore.folders import create, find
from libs.common.mailstore.messages import message_row
from libs.protocols.message.summary import summarise

MAILBOX = "Restored"
"""Which mailbox it was in, and with which flags, only the rows knew."""


async def saved_again(
    database: Database, blobs: BlobStore, ref: BlobRef, header: RecordHeader
) -> bool | None:
    """Put it into the mailbox `Restored` of its owner, above any quota.

    False when a row has it already, None when the account is not there.
    """
    owner = _owner(header)
    async with database.reading() as transaction:
        row_there = select(message.c.mail_id).where(message.c.mail_id == header.mail_id)
        if await transaction.scalar(row_there):
            return False
        made_at = await transaction.scalar(
            select(account.c.created_at).where(account.c.id == owner)
        )
    if made_at is None or made_at > header.received_at:
        return None  # made since then, so it is another one with the same number
    content = (await blobs.read(ref)).content
    summary = await asyncio.to_thread(summarise, content)
    digest = hashlib.sha256(content).digest()
    row = message_row(header, ref, len(content), digest, summary)

    async def work(transaction: Transaction) -> bool:
        await lock_accounts(transaction, [owner])
        if not await transaction.insert_new(message, [row], ("mail_id",)):
            return False
        box = await find(transaction, owner, MAILBOX)
        box = box or await create(transaction, owner, MAILBOX)
        flags, at = 0, header.received_at
        item = Addition(owner, box.id, header.mail_id, flags, "", at, len(content), "")
        await add(transaction, [item])
        return True

    return await database.retry(work)


def _owner(header: RecordHeader) -> int:
    for rule in header.policy:
        if rule.startswith("account="):
            return int(rule.removeprefix("account="))
    return 0
