"""STARTTLS (RFC 3207)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp.reply import Refusal, Reply

if TYPE_CHECKING:
    from services.ingress.session import Session


async def starttls(session: Session, argument: str) -> None:
    """Everything known of the client is forgotten with the plain text (RFC 3207 §4.2)."""
    context = session.server.tls
    if context is None or session.tls:
        raise Refusal(Reply(502, "5.5.1", "TLS is active already, or not to be had"))
    await session.send(Reply(220, "2.0.0", "go ahead"))
    await session.start_tls(context)
    session.forget()
