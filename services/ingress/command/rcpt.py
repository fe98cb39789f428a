"""RCPT: adds a recipient to the transaction (RFC 5321 §4.1.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.parameters import parse_notify, parse_orcpt, refuse_unknown
from libs.protocols.smtp.path import Path
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.command.path import NEEDS_SMTPUTF8, take_path
from services.ingress.policy import check_recipient

if TYPE_CHECKING:
    from services.ingress.session import Session


async def rcpt(session: Session, argument: str) -> Reply:
    """Take a recipient, or say why not while the client can still hear it."""
    transaction = session.transaction()
    path, parameters = take_path("TO", argument, null=False)
    notify, orcpt = parse_notify(parameters), parse_orcpt(parameters)
    refuse_unknown(parameters)
    if len(transaction.recipients) >= session.server.settings.max_recipients:
        raise Refusal(Reply(452, "4.5.3", "too many recipients; send the rest separately"))
    if not path.domain:
        path = Path(path.local_part, session.server.settings.hostname.partition(".")[2])
    if not (path.is_ascii or transaction.smtputf8):
        raise Refusal(NEEDS_SMTPUTF8)
    await check_recipient(session.server.directory, session.account, path)
    transaction.add(path, notify, orcpt)
    return replies.RECIPIENT_OK
