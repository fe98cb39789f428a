"""MAIL: begins a transaction (RFC 5321 §4.1.1.2)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.parameters import (
    parse_body,
    parse_envid,
    parse_flag,
    parse_ret,
    parse_size,
    refuse_unknown,
)
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.command.path import NEEDS_SMTPUTF8, take_path
from services.ingress.policy import check_sender
from services.ingress.transaction import MailTransaction

if TYPE_CHECKING:
    from services.ingress.session import Session


async def mail(session: Session, argument: str) -> Reply:
    """Take the reverse-path and the parameters of the message."""
    _check_state(session)
    path, parameters = take_path("FROM", argument, null=True)
    size, transaction = parse_size(parameters), MailTransaction(path)
    if session.tls:  # elsewhere it is no parameter that we know (RFC 8689 §2)
        transaction.requiretls = parse_flag(parameters, "REQUIRETLS")
    _take_parameters(transaction, parameters)
    if not (path.is_ascii or transaction.smtputf8):
        raise Refusal(NEEDS_SMTPUTF8)
    if size > session.server.settings.max_message_octets:
        raise Refusal(replies.TOO_BIG)
    if session.screening is not None:
        session.screening.message()
    _check_engines(session)
    await check_sender(session.server.directory, session.account, path)
    if session.account is not None:
        await session.server.allowance.message(session.account)
    session.mail = transaction
    return replies.SENDER_OK


def _check_state(session: Session) -> None:
    if not session.helo:
        raise Refusal(Reply(503, "5.5.1", "say EHLO first"))
    if session.mail is not None:
        raise Refusal(Reply(503, "5.5.1", "a transaction is under way; RSET ends it"))
    if session.listener.submission and session.account is None:
        raise Refusal(Reply(530, "5.7.0", "authentication is required here"))


def _check_engines(session: Session) -> None:
    """Hosts come again by themselves; people's mail programs do not, so theirs waits in filter."""
    engines = session.server.engines
    if engines is None or session.listener.submission:
        return
    if reply := engines.refusal(time.monotonic()):
        raise Refusal(reply)


def _take_parameters(transaction: MailTransaction, parameters: dict[str, str]) -> None:
    transaction.body = parse_body(parameters)
    transaction.smtputf8 = parse_flag(parameters, "SMTPUTF8")
    transaction.ret, transaction.envid = parse_ret(parameters), parse_envid(parameters)
    parameters.pop("AUTH", None)  # RFC 4954 §5: we trust nobody's claim, and may ignore it.
    refuse_unknown(parameters)
