"""The commands: each a function of the session and the argument, one file for each kind.

It returns the reply, or None when it sent one itself; a `Refusal` it raises is the reply too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from libs.protocols.smtp.reply import Reply
from services.ingress.command.auth import auth
from services.ingress.command.data import bdat, data
from services.ingress.command.hello import ehlo, helo, lhlo
from services.ingress.command.mail import mail
from services.ingress.command.rcpt import rcpt
from services.ingress.command.simple import expn, help_, noop, quit_, rset, vrfy
from services.ingress.command.starttls import starttls
from services.ingress.command.xclient import xclient

if TYPE_CHECKING:
    from services.ingress.session import Session

COMMANDS: dict[str, Callable[[Session, str], Awaitable[Reply | None]]] = {
    "HELO": helo,
    "EHLO": ehlo,
    "LHLO": lhlo,
    "MAIL": mail,
    "RCPT": rcpt,
    "DATA": data,
    "BDAT": bdat,
    "RSET": rset,
    "NOOP": noop,
    "QUIT": quit_,
    "VRFY": vrfy,
    "EXPN": expn,
    "HELP": help_,
    "STARTTLS": starttls,
    "AUTH": auth,
    "XCLIENT": xclient,
}
