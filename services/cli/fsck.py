"""`holub fsck`: do rows, mailboxes and blobs agree?  (A1-A8 of the reliability rules.)"""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import text

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobError, BlobRef, BlobStore
from libs.common.db import Database, Transaction
from libs.common.runtime.settings import PlatformSettings
from services.cli.administer import with_database

FEW = 10
"""Examples of each violation that are shown."""

_CHECKS: dict[str, str] = {
    "A1 deferred recipients have a time within their lifetime": """
        SELECT mail_id, n FROM deferred WHERE next_attempt_at > :now + 16200
            OR received_at < :now - 6 * 86400""",
    "A1 no recipient has both a terminal state and a next attempt": """
        SELECT d.mail_id, d.n FROM deferred d
          JOIN outcome o ON o.mail_id = d.mail_id AND o.n = d.n""",
    "A3 UIDs are below UIDNEXT": """
        SELECT m.mailbox_id, m.uid FROM mailbox_message m JOIN mailbox b ON b.id = m.mailbox_id
         WHERE m.uid >= b.uidnext""",
    "A3 MODSEQs are at most HIGHESTMODSEQ": """
        SELECT m.mailbox_id, m.uid FROM mailbox_message m JOIN mailbox b ON b.id = m.mailbox_id
         WHERE m.modseq > b.highestmodseq""",
    "A3 UIDVALIDITYs are below the account's next": """
        SELECT b.id, b.uidvalidity FROM mailbox b JOIN account a ON a.id = b.account_id
         WHERE b.uidvalidity > a.next_uidvalidity""",
    "A3 a UID that vanished is not there": """
        SELECT v.mailbox_id, v.uid FROM vanished v
          JOIN mailbox_message m ON m.mailbox_id = v.mailbox_id AND m.uid = v.uid""",
    "A5 mailbox counters are right": """
        SELECT b.id, b.messages FROM mailbox b LEFT JOIN (
               SELECT mailbox_id, COUNT(*) AS n, SUM(size) AS octets,
                      SUM(CASE WHEN flags & 1 = 1 THEN 0 ELSE 1 END) AS unseen
                 FROM mailbox_message GROUP BY mailbox_id) c ON c.mailbox_id = b.id
         WHERE b.messages <> COALESCE(c.n, 0) OR b.octets <> COALESCE(c.octets, 0)
            OR b.unseen <> COALESCE(c.unseen, 0)""",
    "A5 account usage is right": """
        SELECT a.id, a.used_octets FROM account a LEFT JOIN (
               SELECT b.account_id, SUM(b.messages) AS n, SUM(b.octets) AS octets
                 FROM mailbox b GROUP BY b.account_id) c ON c.account_id = a.id
         WHERE a.used_messages <> COALESCE(c.n, 0) OR a.used_octets <> COALESCE(c.octets, 0)""",
    "A6 one message is in one mailbox once": """
        SELECT m.mail_id, m.mailbox_id FROM mailbox_message m
          JOIN message g ON g.mail_id = m.mail_id AND g.origin IN ('smtp', 'api', 'dsn', 'child')
          JOIN delivery_log d ON d.mail_id = m.mail_id
          JOIN mailbox b ON b.id = m.mailbox_id AND b.account_id = d.account_id
         WHERE m.savedate <= d.delivered_at + 1
         GROUP BY m.mail_id, m.mailbox_id HAVING COUNT(*) > 1""",
    "A6 what was delivered has a terminal state": """
        SELECT d.mail_id, d.account_id FROM delivery_log d
         WHERE NOT EXISTS (SELECT 1 FROM outcome o WHERE o.mail_id = d.mail_id)""",
    "A7 no outbox row is older than five minutes": """
        SELECT mail_id, id FROM outbox WHERE created_at < :now - 300""",
    "A7 no lease is overdue by an hour": """
        SELECT mail_id, n FROM deferred WHERE lease_owner <> '' AND lease_until < :now - 3600""",
    "A8 aliases and accounts are of their domain's tenant": """
        SELECT a.address, a.tenant_id FROM account a JOIN domain d ON d.id = a.domain_id
         WHERE a.tenant_id <> d.tenant_id
        UNION ALL
        SELECT a.address, a.tenant_id FROM alias a JOIN domain d ON d.id = a.domain_id
         WHERE a.tenant_id <> d.tenant_id""",
}

_BLOBS = text("""
    SELECT mail_id, segment, record_offset, record_length, size, sha256 FROM message
     WHERE mail_id > :after ORDER BY mail_id LIMIT 500""")


async def _sql(transaction: Transaction, statement: str) -> list[str]:
    parameters = {"now": time.time()} if ":now" in statement else {}
    rows = await transaction.rows(text(statement), parameters)
    return [" ".join(str(value) for value in row) for row in rows]


async def _unreadable(database: Database, blobs: BlobStore, content: bool) -> list[str]:
    """A4: rows without a readable blob of their size and SHA-256."""
    wrong: list[str] = []
    after = ""
    while True:
        async with database.reading() as transaction:
            rows = await transaction.rows(_BLOBS, {"after": after})
        if not rows:
            return wrong
        for row in rows:
            reason = await _reason(blobs, row, content)
            wrong += [f"{row.mail_id} {reason}"] if reason else []
        after = rows[-1].mail_id


async def _reason(blobs: BlobStore, row: Any, content: bool) -> str:
    ref = BlobRef(row.segment, row.record_offset, row.record_length)
    try:
        if not content:
            await blobs.read_range(ref, max(row.size - 1, 0), row.size)
            return ""
        record = await blobs.read(ref)
    except BlobError as error:
        return str(error)
    same = record.sha256 == bytes(row.sha256) and len(record.content) == row.size
    return "" if same else "differs from its row in size or SHA-256"


async def _all(database: Database, content: bool) -> dict[str, list[str]]:
    settings: PlatformSettings = PlatformSettings.load()
    found = {}
    async with database.reading() as transaction:
        for name, statement in _CHECKS.items():
            found[name] = await _sql(transaction, statement)
    blobs = open_blobstore(settings.blob_url)
    try:
        name = "A4 every message has a readable blob"
        found[name] = await _unreadable(database, blobs, content)
    finally:
        await blobs.close()
    return found


def check(as_json: bool, content: bool) -> int:
    """Run every check; 0 when all are clean, 1 otherwise."""
    found = with_database(lambda database: _all(database, content))
    clean = not any(found.values())
    if as_json:
        print(json.dumps({"clean": clean, "violations": found}))
        return 0 if clean else 1
    for name, violations in found.items():
        print(f"{'ok  ' if not violations else 'BAD '} {name}")
        for example in violations[:FEW]:
            print(f"       {example}")
        if len(violations) > FEW:
            print(f"       and {len(violations) - FEW} more")
    return 0 if clean else 1
