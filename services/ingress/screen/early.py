"""early_talk and pipelining: clients that do not wait for our replies.

Programs that only push their text through a connection speak before the greeting, and do not wait
where RFC 2920 §3.1 makes them wait.
"""

from __future__ import annotations

from libs.protocols.smtp.reply import Reply
from services.ingress.screen.rule import Finding

EARLY, PIPELINING = "early_talk", "pipelining"
_LAST_OF_A_GROUP = frozenset({"HELO", "EHLO", "DATA", "VRFY", "EXPN", "NOOP"})
"""Nothing may follow these before their reply (RFC 2920 §3.1; the content waits for 354)."""
TOO_EARLY = Reply(554, "5.5.0", "you spoke before our greeting (rule early_talk)")
NOT_IN_STEP = Reply(
    554, "5.5.0", "you did not wait for a reply where RFC 2920 says to (rule pipelining)"
)


def found_early() -> Finding:
    """Something came before the greeting."""
    return Finding(EARLY, "spoke", TOO_EARLY)


def found_pipelining(verb: str) -> Finding:
    """Something came after this command, and before its reply."""
    return Finding(PIPELINING, f"after-{verb}", NOT_IN_STEP)


def must_wait(verb: str, extended: bool) -> bool:
    """May nothing follow this command?  Who said HELO was not offered PIPELINING at all."""
    return verb in _LAST_OF_A_GROUP or (not extended and verb in ("MAIL", "RCPT", "RSET"))
