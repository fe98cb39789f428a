"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208): one root for all mailboxes of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libs.protocols.imap.parse import Parser
from services.imap.outcome import Done, No

if TYPE_CHECKING:
    from services.imap.session import Session

_ROOT = b'""'
_UNIT = 1024
"""Octets of one unit of STORAGE (RFC 9208 §5.1)."""


async def getquota(session: Session, parser: Parser) -> Done:
    """GETQUOTA."""
    parser.space()
    root = parser.astring()
    parser.end()
    if root:
        raise No('the only quota root is ""', "NONEXISTENT")
    await _tell(session, session.owner().id)
    return Done("that is all")


async def getquotaroot(session: Session, parser: Parser) -> Done:
    """GETQUOTAROOT."""
    parser.space()
    name = parser.mailbox()
    parser.end()
    box = await session.box(name)
    session.untagged(b"QUOTAROOT %b %b" % (session.name(name), _ROOT))
    await _tell(session, box.account_id)
    return Done("that is all")


async def setquota(session: Session, parser: Parser) -> Done:
    """SETQUOTA: for whoever runs the platform."""
    parser.space()
    parser.astring()
    parser.space()
    parser.rest()
    raise No("quotas are set through the management API", "NOPERM")


async def _tell(session: Session, account_id: int) -> None:
    usage = await session.gateway.store.usage(account_id)
    parts = []
    if usage.quota_octets:
        # Rounded up, so that nothing seems to fit that does not.
        used = -(-usage.used_octets // _UNIT)
        parts.append(b"STORAGE %d %d" % (used, usage.quota_octets // _UNIT))
    if usage.quota_messages:
        parts.append(b"MESSAGE %d %d" % (usage.used_messages, usage.quota_messages))
    session.untagged(b"QUOTA %b (%b)" % (_ROOT, b" ".join(parts)))
