"""Mailboxes as such: listing, creating, renaming, deleting, subscribing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import delete, func, select, update

from libs.common.db import Transaction
from libs.common.db.schema import account, annotation, imported, mailbox, mailbox_message
from libs.common.mailstore.append import count_accounts, lock_accounts
from libs.common.mailstore.flags import Flag
from libs.common.mailstore.mailbox import Mailbox, MailStoreError

SEPARATOR = "/"
MAX_NAME = 500
"""Octets of a mailbox name in UTF-8."""
MAX_DEPTH = 20
MAX_MAILBOXES = 10_000
"""In one account."""
MAX_ADOPTED = 2**32 - 2**24
"""No UIDVALIDITY from there on is taken over, so that others are left to give."""

SPECIAL_USES = ("\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
"""What CREATE takes (RFC 6154 §2); \\All would be a view of everything, which we do not have."""

COLUMNS = (
    mailbox.c.id,
    mailbox.c.account_id,
    mailbox.c.name,
    mailbox.c.uidvalidity,
    mailbox.c.uidnext,
    mailbox.c.highestmodseq,
    mailbox.c.messages,
    mailbox.c.unseen,
    mailbox.c.octets,
    mailbox.c.special_use,
    mailbox.c.subscribed,
)


def canonical_name(name: str) -> str:
    """INBOX is case-insensitive, everything else is as it was given (RFC 9051 §5.1)."""
    head, separator, rest = name.partition(SEPARATOR)
    return f"INBOX{separator}{rest}" if head.upper() == "INBOX" else name


def check_name(name: str) -> str:
    """The canonical form of a name that may be created; `MailStoreError` says what is wrong."""
    name = canonical_name(name.rstrip(SEPARATOR))
    levels = name.split(SEPARATOR)
    if not all(levels):
        raise MailStoreError("CANNOT", "a mailbox name needs text at every level")
    if len(levels) > MAX_DEPTH or len(name.encode("utf-8", "replace")) > MAX_NAME:
        raise MailStoreError(
            "LIMIT", f"mailbox names have at most {MAX_NAME} octets and {MAX_DEPTH} levels"
        )
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name):
        raise MailStoreError("CANNOT", "a mailbox name has no control characters")
    return name


async def list_mailboxes(transaction: Transaction, account_id: int) -> list[Mailbox]:
    """All mailboxes of an account, by name."""
    query = select(*COLUMNS).where(mailbox.c.account_id == account_id).order_by(mailbox.c.name)
    return [Mailbox(*row) for row in await transaction.rows(query)]


async def find(transaction: Transaction, account_id: int, name: str) -> Mailbox | None:
    """The mailbox with this name, or None."""
    row = await transaction.one_or_none(
        select(*COLUMNS).where(
            mailbox.c.account_id == account_id, mailbox.c.name == canonical_name(name)
        )
    )
    return Mailbox(*row) if row else None


async def require(transaction: Transaction, account_id: int, name: str) -> Mailbox:
    """The mailbox with this name; NONEXISTENT otherwise."""
    found = await find(transaction, account_id, name)
    if found is None:
        raise MailStoreError("NONEXISTENT", f"there is no mailbox {name!r}")
    return found


async def create(
    transaction: Transaction, account_id: int, name: str, special_use: str = ""
) -> Mailbox:
    """Create a mailbox and those above it (RFC 9051 §6.3.4)."""
    name = check_name(name)
    await lock_accounts(transaction, [account_id])
    boxes = await list_mailboxes(transaction, account_id)
    known = {box.name for box in boxes}
    if special_use:
        _check_use(special_use, boxes)
    if name in known:
        raise MailStoreError("ALREADYEXISTS", f"mailbox {name!r} exists already")
    if len(known) >= MAX_MAILBOXES:
        raise MailStoreError("LIMIT", f"an account has at most {MAX_MAILBOXES} mailboxes")
    levels = name.split(SEPARATOR)
    for depth in range(1, len(levels) + 1):
        part = SEPARATOR.join(levels[:depth])
        if part not in known:
            use = special_use if part == name else ""
            await _insert(transaction, account_id, part, use)
    return await require(transaction, account_id, name)


def _check_use(special_use: str, boxes: Iterable[Mailbox]) -> None:
    """One mailbox for each use, so that clients agree which one it is (RFC 6154 §5.3)."""
    if special_use not in SPECIAL_USES:
        raise MailStoreError("USEATTR", f"the uses are {', '.join(SPECIAL_USES)}")
    if any(box.special_use == special_use for box in boxes):
        raise MailStoreError("USEATTR", f"there is a mailbox for {special_use} already")


async def made(transaction: Transaction, account_id: int, name: str) -> int:
    """The id of the mailbox with this name, which is created if need be."""
    found = await find(transaction, account_id, name)
    return (found or await create(transaction, account_id, name)).id


async def deleted(transaction: Transaction, mailbox_id: int) -> tuple[int, int]:
    """(messages, octets) that EXPUNGE would remove."""
    query = select(func.count(), func.coalesce(func.sum(mailbox_message.c.size), 0)).where(
        mailbox_message.c.mailbox_id == mailbox_id,
        mailbox_message.c.flags.bitwise_and(int(Flag.DELETED)) != 0,
    )
    count, octets = await transaction.one_or_none(query)
    return int(count), int(octets)


async def _insert(transaction: Transaction, account_id: int, name: str, special_use: str) -> None:
    row = {
        "account_id": account_id,
        "name": name,
        "uidvalidity": await next_uidvalidity(transaction, account_id),
        "special_use": special_use,
        "created_at": time.time(),
    }
    await transaction.insert(mailbox, [row])


async def next_uidvalidity(transaction: Transaction, account_id: int) -> int:
    """A UIDVALIDITY that this account never had (RFC 9051 §2.3.1.1)."""
    statement = (
        update(account)
        .where(account.c.id == account_id)
        .values(next_uidvalidity=account.c.next_uidvalidity + 1)
        .returning(account.c.next_uidvalidity)
    )
    return int(await transaction.scalar(statement))


async def adopt(transaction: Transaction, account_id: int, name: str, uidvalidity: int) -> Mailbox:
    """Give a mailbox the UIDVALIDITY that it had elsewhere, so that its UIDs mean the same there.

    Only where no message ever was in it, and no mailbox of the account ever had that number:
    otherwise it stays as it is.
    """
    await lock_accounts(transaction, [account_id])
    found = await require(transaction, account_id, name)
    query = select(account.c.created_at, account.c.next_uidvalidity)
    created_at, last = await transaction.one_or_none(query.where(account.c.id == account_id))
    # We give them from the account's beginning on, so all before that and after the last are free.
    free = 0 < uidvalidity < int(created_at) or last < uidvalidity < MAX_ADOPTED
    note = [{"account_id": account_id, "key": f"uidvalidity {uidvalidity}"}]
    if found.uidnext > 1 or not free:
        return found
    if not await transaction.insert_new(imported, note, ("key", "account_id")):
        return found
    if uidvalidity > last:
        mine = update(account).where(account.c.id == account_id)
        await transaction.execute(mine.values(next_uidvalidity=uidvalidity))
    changed = update(mailbox).where(mailbox.c.id == found.id).values(uidvalidity=uidvalidity)
    await transaction.execute(changed)
    return replace(found, uidvalidity=uidvalidity)


async def remove(transaction: Transaction, account_id: int, name: str) -> None:
    """Delete a mailbox with its messages; those below it stay (RFC 9051 §6.3.5)."""
    await lock_accounts(transaction, [account_id])
    found = await require(transaction, account_id, name)
    if found.name == "INBOX":
        raise MailStoreError("CANNOT", "INBOX cannot be deleted")
    await count_accounts(transaction, [(account_id, -found.messages, -found.octets)])
    # Not by a foreign key, because those of the account itself are in the same table.
    await transaction.execute(delete(annotation).where(annotation.c.mailbox_id == found.id))
    await transaction.execute(delete(mailbox).where(mailbox.c.id == found.id))


async def rename(transaction: Transaction, account_id: int, old: str, new: str) -> None:
    """Rename a mailbox and those below it (RFC 9051 §6.3.6)."""
    new = check_name(new)
    await lock_accounts(transaction, [account_id])
    found = await require(transaction, account_id, old)
    boxes = await list_mailboxes(transaction, account_id)
    below = [b for b in boxes if b.name.startswith(found.name + SEPARATOR)]
    if any(b.name == new for b in boxes):
        raise MailStoreError("ALREADYEXISTS", f"mailbox {new!r} exists already")
    if new.startswith(found.name + SEPARATOR):
        raise MailStoreError("CANNOT", "a mailbox cannot move below itself")
    if found.name == "INBOX":
        raise MailStoreError("CANNOT", "INBOX cannot be renamed; move its messages instead")
    parent = new.rpartition(SEPARATOR)[0]
    if parent and all(b.name != parent for b in boxes):
        await create(transaction, account_id, parent)
    for box in [found, *below]:
        # UIDs and UIDVALIDITY stay: no two mailboxes of an account ever share a UIDVALIDITY, so
        # a client cannot take this one for an earlier one of that name (RFC 9051 §2.3.1.1).
        name = new + box.name[len(found.name) :]
        await transaction.execute(update(mailbox).where(mailbox.c.id == box.id).values(name=name))


async def subscribe(transaction: Transaction, account_id: int, name: str, on: bool) -> None:
    """Set whether a mailbox is subscribed."""
    found = await require(transaction, account_id, name)
    await transaction.execute(update(mailbox).where(mailbox.c.id == found.id).values(subscribed=on))
