"""RCPT: adds a recipient to the transaction (RFC 5321 §4.1.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.parameters import parse_notify, parse_orcpt, refuse_unknown
from libs.protocols.smtp.path import Path
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.command.path import NEEDS_SMTPUTF8, take_path
from services.ingress.policy import check_recipient, tenant_of, with_domain

if TYPE_CHECKING:
    from services.ingress.session import Session
    from services.ingress.transaction import MailTransaction

# A 452 makes clients send the rest by itself at once (RFC 5321 §4.5.3.1.10).
OTHER_TENANT = Reply(452, "4.5.3", "this recipient needs a transaction of its own; send it again")


async def rcpt(session: Session, argument: str) -> Reply:
    """Take a recipient, or say why not while the client can still hear it."""
    transaction = session.transaction()
    if transaction.content is not None:
        raise Refusal(replies.BAD_SEQUENCE)  # after BDAT (RFC 3030 §3)
    path, parameters = take_path("TO", argument, null=False)
    notify, orcpt = parse_notify(parameters), parse_orcpt(parameters)
    refuse_unknown(parameters)
    if len(transaction.recipients) >= session.server.settings.max_recipients:
        raise Refusal(Reply(452, "4.5.3", "too many recipients; send the rest separately"))
    path = await with_domain(session.server.directory, path, session.server.settings.hostname)
    if not (path.is_ascii or transaction.smtputf8):
        raise Refusal(NEEDS_SMTPUTF8)
    if session.screening is not None:
        session.screening.guesses()
    await check_recipient(session.server.directory, session.account, path)
    if session.account is not None:
        await session.server.allowance.recipient(session.account)
    await _settle_tenant(session, transaction, path)
    if session.screening is not None:
        found = await session.screening.recipient(transaction.reverse_path, path)
        transaction.policy = tuple(dict.fromkeys((*transaction.policy, *found)))
    transaction.add(path, notify, orcpt)
    return replies.RECIPIENT_OK


async def _settle_tenant(session: Session, transaction: MailTransaction, path: Path) -> None:
    """A record belongs to one tenant: that of who logged in, else that of its recipients."""
    if session.account is not None:
        transaction.tenant = session.account.tenant_id
        return
    tenant = await tenant_of(session.server.directory, path)
    if transaction.recipients and transaction.tenant != tenant:
        raise Refusal(OTHER_TENANT)
    transaction.tenant = tenant
