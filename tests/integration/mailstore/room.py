"""What tests of the mail store share: the store, its accounts, and the audit of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from libs.common.db import Database, Transaction
from libs.common.db.schema import account, mailbox, mailbox_message, vanished
from libs.common.mailstore import AppendItem, Flag, Mailbox, MailStore

CONTENT = b"From: ann@other.test\r\nSubject: %d\r\n\r\nbody\r\n"


@dataclass(slots=True)
class Room:
    """A store and who lives in it."""

    database: Database
    store: MailStore
    alice: int
    bob: int

    async def box(self, name: str = "INBOX", account_id: int = 0) -> Mailbox:
        """A mailbox that is there (alice's when no account is named)."""
        found = await self.store.mailbox(account_id or self.alice, name)
        assert found is not None
        return found

    async def append(self, count: int = 1, name: str = "INBOX", flags: int = 0) -> list[int]:
        """Append small messages as alice; their UIDs."""
        items = [AppendItem(CONTENT % n, flags, "", None) for n in range(count)]
        return (await self.store.append(self.alice, name, items))[1]

    async def audit(self, accounts: Sequence[int] = ()) -> None:
        """Every counter is what the rows say, whatever happened before (I3, I5)."""
        chosen = accounts or (self.alice, self.bob)
        async with self.database.reading() as transaction:
            boxes = select(mailbox).where(mailbox.c.account_id.in_(chosen))
            for box in await transaction.rows(boxes):
                await _audit_mailbox(transaction, box)
            for one in await transaction.rows(select(account).where(account.c.id.in_(chosen))):
                query = select(func.count(), func.coalesce(func.sum(mailbox_message.c.size), 0))
                query = query.join_from(
                    mailbox_message, mailbox, mailbox.c.id == mailbox_message.c.mailbox_id
                ).where(mailbox.c.account_id == one.id)
                count, octets = await transaction.one_or_none(query)
                assert (one.used_messages, one.used_octets) == (count, octets)


async def _audit_mailbox(transaction: Transaction, box: Mailbox) -> None:
    of = mailbox_message.c.mailbox_id == box.id
    rows = await transaction.rows(select(mailbox_message).where(of).order_by(mailbox_message.c.uid))
    gone = await transaction.rows(select(vanished).where(vanished.c.mailbox_id == box.id))
    assert box.messages == len(rows)
    assert box.unseen == sum(not row.flags & Flag.SEEN for row in rows)
    assert box.octets == sum(row.size for row in rows)
    assert all(row.uid < box.uidnext for row in rows)
    assert all(row.modseq <= box.highestmodseq for row in (*rows, *gone))
    # A UID is here or has vanished, never both, and none is unaccounted for.
    here, left = {row.uid for row in rows}, {row.uid for row in gone}
    assert not here & left
    assert here | left == set(range(1, box.uidnext))
