"""AUTH (RFC 4954): when it may be said; `authenticate` has the mechanisms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.common.runtime.log import get_logger
from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.authenticate import authenticate

if TYPE_CHECKING:
    from services.ingress.session import Session

log = get_logger(__name__)


async def auth(session: Session, argument: str) -> Reply:
    """Let an account prove itself."""
    if not session.listener.submission:
        raise Refusal(Reply(502, "5.5.1", "this is not a submission port"))
    if not session.tls:
        raise Refusal(Reply(538, "5.7.11", "say STARTTLS first: passwords need TLS"))
    if session.account is not None or session.mail is not None or not session.extended:
        raise Refusal(replies.BAD_SEQUENCE)
    session.account = await authenticate(session, argument)
    log.info("authenticated", account=session.account.address, peer=session.ip)
    return Reply(235, "2.7.0", "welcome")
