"""What a principal may see of a message that many tenants may share.

Seen is what concerns recipients within reach.  Whoever has sent it (logged in with an address
within reach) sees all of it.  A forged reverse-path shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from libs.common.accounts.account import canonical, split_address
from libs.common.admin import reach
from libs.common.admin.principal import Principal, Role
from libs.common.db import Transaction
from libs.common.db.schema import alias, domain

HIDDEN = "another recipient"
# The listener comes first and is ours, as is the end; HELO and the reverse-path are the client's.
_LOGIN = re.compile(r"(?:submissions?|api): .*\] as (\S+), [A-Z0-9]+(?:, TLS.*)?$", re.DOTALL)
_ADDRESS = re.compile(r"<([^<>]*@[^<>]*)>")


def login_of(steps: Sequence[dict[str, Any]]) -> str:
    """Who logged in to send it, from the row that tells of its acceptance; empty: nobody."""
    for step in steps:
        if step["stage"] == "ingress" and step["what"] == "accepted":
            match = _LOGIN.match(step["why"])
            return match.group(1) if match else ""
    return ""


@dataclass(frozen=True, slots=True)
class View:
    """Which addresses are within reach: all, those of some domains, or some by themselves."""

    everything: bool
    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def shows(self, address: str) -> bool:
        """Is this address within reach?"""
        if self.everything:
            return True
        name = split_address(address)[1].lower()
        return name in self.domains or canonical(address) in self.addresses

    def step(self, step: dict[str, Any]) -> bool:
        """May this row be seen by itself?"""
        return self.everything or (bool(step["recipient"]) and self.shows(step["recipient"]))

    def _steps(self, steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
        if self.everything or ((login := login_of(steps)) and self.shows(login)):
            return list(steps)
        if not any(s["recipient"] and self.shows(s["recipient"]) for s in steps):
            return None
        seen = [s for s in steps if not s["recipient"] or self.shows(s["recipient"])]
        return [s if s["recipient"] else {**s, "why": self._redact(s["why"])} for s in seen]

    def _redact(self, why: str) -> str:
        """Sender and own recipients stay, other recipients are not named."""
        head, to, rest = why.partition("> to ")
        if not to:
            return _ADDRESS.sub(self._address, why)
        return head + to + _ADDRESS.sub(self._address, rest)

    def _address(self, match: re.Match[str]) -> str:
        return match.group(0) if self.shows(match.group(1)) else f"<{HIDDEN}>"

    def story(self, told: dict[str, Any]) -> dict[str, Any] | None:
        """What `libs.common.trace.search.tell` tells, as far as it may be seen; None: nothing."""
        if not told["steps"] and not told["message"] and not told["recipients"]:
            return None
        all_ = self.everything
        login = login_of(told["steps"])
        all_ = all_ or bool(login and self.shows(login))
        if all_:
            return told
        states = [s for s in told["recipients"] if s["recipient"] and self.shows(s["recipient"])]
        steps = self._steps(told["steps"])
        if steps is None and not states:
            return None
        return {**told, "steps": steps or [], "recipients": states}

    def message(
        self, mail_id: str, facts: dict[str, Any] | None, steps: Sequence[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """One line of a list; None when it may not be seen."""
        seen = self._steps(steps) if steps else ([] if self.everything else None)
        if seen is None:
            return None
        facts = facts or {}
        last: dict[str, str] = {}
        for step in seen:
            if step["recipient"]:
                last[step["recipient"]] = step["what"]
        return {
            "mail_id": mail_id,
            "at": seen[0]["at"] if seen else None,
            "sender": facts.get("reverse_path"),
            "recipients": last,
            "subject": facts.get("subject", ""),
            "message_id": facts.get("message_id", ""),
            "size": facts.get("size"),
            "last": seen[-1]["what"] if seen else "accepted",
        }


async def view_of(transaction: Transaction, who: Principal) -> View:
    """The view of a principal."""
    if who.everywhere:
        return View(True)
    if who.role is Role.ACCOUNT:
        query = select(alias.c.address).where(alias.c.target == who.address)
        rows = await transaction.rows(query.where(alias.c.tenant_id == who.tenant_id))
        return View(False, addresses=frozenset({who.address, *(row.address for row in rows)}))
    rows = await transaction.rows(select(domain.c.name).where(reach.domains(who)))
    return View(False, domains=frozenset(row.name for row in rows))
