"""How much accounts and their tenants may send by submission: counted by all replicas together.

A message counts when it is begun, a recipient when it is named; so a client that was told 450
may come again when the window has moved on, and nothing that was accepted is ever over.
"""

from __future__ import annotations

import time

from libs.common.accounts import Account, Directory, DirectoryUnavailable
from libs.common.limits import Limit, Limits
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.policy import DIRECTORY_AWAY
from services.ingress.settings import IngressSettings

HOUR, DAY = 3600, 86400


class Allowance:
    """The counts of one process; `Limits` shares them."""

    def __init__(self, directory: Directory, limits: Limits, settings: IngressSettings) -> None:
        self._directory = directory
        self._limits = limits
        self._settings = settings

    async def message(self, account: Account) -> None:
        """Count a message; a `Refusal` when there were too many in the last hour."""
        tenant, _ = await self._of_tenant(account)
        await self._count(
            {
                f"messages:account/{account.id}": Limit(self._settings.account_messages, HOUR),
                f"messages:tenant/{account.tenant_id}": Limit(tenant, HOUR),
            },
            450,
            "messages in an hour",
        )

    async def recipient(self, account: Account) -> None:
        """Count a recipient; a `Refusal` when there were too many in the last day."""
        _, tenant = await self._of_tenant(account)
        await self._count(
            {
                f"recipients:account/{account.id}": Limit(self._settings.account_recipients, DAY),
                f"recipients:tenant/{account.tenant_id}": Limit(tenant, DAY),
            },
            452,
            "recipients in a day",
        )

    async def _of_tenant(self, account: Account) -> tuple[int, int]:
        try:
            return await self._directory.sending_limits(account.tenant_id)
        except DirectoryUnavailable as error:
            raise Refusal(DIRECTORY_AWAY) from error

    async def _count(self, limits: dict[str, Limit], code: int, what: str) -> None:
        limits = {key: limit for key, limit in limits.items() if limit.most}
        if not limits:
            return
        now = time.time()
        await self._limits.recall(limits, now)
        counts = self._limits.counts
        for key, limit in limits.items():
            if not counts.allows(key, limit, now):
                whose = "this account" if "account/" in key else "your organisation"
                text = f"{whose} may send {limit.most} {what}; please try again later"
                raise Refusal(Reply(code, "4.7.1", text))
        for key, limit in limits.items():
            counts.add(key, limit, now)
