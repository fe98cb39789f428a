"""The mail of an account as such, in and out: only for who may read other people's mail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import audit
from libs.common.admin.accounts import account_of
from libs.common.admin.principal import Principal, Role
from libs.common.db import Database
from libs.common.mailstore import MailStore
from libs.common.transfer import Progress, TransferError, bring
from libs.common.transfer.letter import Source
from libs.common.transfer.mbox_target import mbox_stream
from libs.protocols.mailfile.mbox import Quoting


async def _account(database: Database, who: Principal, address: str, action: str, box: str) -> int:
    """The id of an account within reach, of somebody who may no more; the access is audited."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        if who.account_id != row.id:
            # Letters that reset a password, for one, are in there.
            who.must_outrank(Role(row.role), "address")
        await audit.note(
            transaction, who, action, row.address, tenant_id=row.tenant_id, mailbox=box
        )
        return int(row.id)


async def take_in(
    database: Database, store: MailStore, who: Principal, address: str, mailbox: str, source: Source
) -> dict[str, Any]:
    """Bring mail into one mailbox; what was brought in before is passed over."""
    account_id = await _account(database, who, address, "mail.import", mailbox)
    last = Progress()
    try:
        async for step in bring(store, account_id, source):
            last = step
    except TransferError as error:
        raise RegistryError("body", str(error)) from error
    return {"messages": last.messages, "known": last.known, "problems": last.problems[:100]}


async def give_out(
    database: Database,
    store: MailStore,
    who: Principal,
    address: str,
    mailbox: str,
    quoting: Quoting,
) -> AsyncIterator[bytes]:
    """A mailbox as an mbox, as it is read."""
    account_id = await _account(database, who, address, "mail.export", mailbox)
    box = await store.mailbox(account_id, mailbox)
    if box is None:
        raise NotFound("mailbox", f"there is no mailbox {mailbox!r}")
    return mbox_stream(store, box, quoting)
