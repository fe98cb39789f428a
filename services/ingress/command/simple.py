"""RSET, NOOP, QUIT, VRFY, EXPN and HELP: commands that ask for little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.reply import Refusal, Reply

if TYPE_CHECKING:
    from services.ingress.session import Session


async def rset(session: Session, argument: str) -> Reply:
    """End the transaction without a message (RFC 5321 §4.1.1.5)."""
    session.count_idle()
    session.end_transaction()
    return replies.OK


async def noop(session: Session, argument: str) -> Reply:
    """Nothing; an argument is ignored (RFC 5321 §4.1.1.9)."""
    session.count_idle()
    return replies.OK


async def quit_(session: Session, argument: str) -> Reply:
    """The session closes after this reply (RFC 5321 §4.1.1.10)."""
    return Reply(221, "2.0.0", "goodbye")


async def vrfy(session: Session, argument: str) -> Reply:
    """Neither yes nor no: it would tell strangers who exists (RFC 5321 §7.3)."""
    session.count_idle()
    if not argument:
        raise Refusal(Reply(501, "5.5.4", "VRFY takes an address"))
    return Reply(252, "2.5.0", "cannot say; send, and see")


async def expn(session: Session, argument: str) -> Reply:
    """Who is on a list is nobody's business (RFC 5321 §7.3)."""
    raise Refusal(Reply(502, "5.5.1", "lists are not expanded here"))


async def help_(session: Session, argument: str) -> Reply:
    """The commands there are."""
    from services.ingress.command import COMMANDS

    session.count_idle()
    return Reply(214, "2.0.0", f"commands: {' '.join(sorted(COMMANDS))}")
