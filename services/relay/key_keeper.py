"""Leads DKIM keys through their lives: made where a domain has none, used once DNS shows them,
retired when nothing that they signed is under way any more.

Every replica does this; each step is a change that only the first one makes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from libs.common.accounts import dkim_keys
from libs.common.accounts.dkim_keys import ALGORITHMS
from libs.common.db import Database
from libs.common.db.schema import dkim_key, domain
from libs.common.dns import DnsUnavailable, Resolver
from libs.common.runtime.log import get_logger
from libs.common.runtime.sealer import Sealer
from libs.common.senderauth.key import is_published
from services.relay.settings import RelaySettings

log = get_logger(__name__)
MOST_DOMAINS = 20
"""Domains that get keys in one round: they are made on the processor that sends mail."""
MOST_NEW = 200
"""New keys that are looked for in one round."""


class KeyKeeper:
    """Looks after all keys, one round after the other."""

    def __init__(
        self, database: Database, sealer: Sealer, resolver: Resolver, settings: RelaySettings
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._resolver = resolver
        self._settings = settings

    async def work_for_ever(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except Exception as error:
                log.warning("DKIM keys are not looked after", error=str(error))
            await asyncio.sleep(self._settings.dkim_check_seconds)

    async def round(self) -> None:
        """Look at everything once."""
        await self._make()
        for row in await self._new():
            await self._look_for(row)
        before = time.time() - self._settings.dkim_retire_seconds
        async with self._database.transaction() as transaction:
            await dkim_keys.retire(transaction, before)

    async def _make(self) -> None:
        """Keys for domains that never had any, and new ones for those whose keys are old."""
        for row in await self._without_keys():
            now = time.time()
            keys = [
                await asyncio.to_thread(
                    dkim_keys.make_key, row.name, kind, dkim_keys.selector_for(kind, now)
                )
                for kind in ALGORITHMS
            ]
            async with self._database.transaction() as transaction:
                # Another replica may have been here, or an administrator.
                if not await transaction.rows(self._fresh_keys(row.id, now)):
                    await dkim_keys.add_keys(transaction, row.id, row.name, keys, self._sealer)
                    log.info("DKIM keys made; publish them", domain=row.name)

    async def _without_keys(self) -> Any:
        query = select(domain.c.id, domain.c.name).where(domain.c.enabled)
        fresh = self._fresh_keys(domain.c.id, time.time()).correlate(domain)
        query = query.where(~fresh.exists()).order_by(domain.c.id).limit(MOST_DOMAINS)
        async with self._database.reading() as transaction:
            return await transaction.rows(query)

    def _fresh_keys(self, domain_id: Any, now: float) -> Any:
        """Keys that make new ones needless."""
        query = select(dkim_key.c.id).where(dkim_key.c.domain_id == domain_id)
        days = self._settings.dkim_rotate_days
        return query.where(dkim_key.c.created_at > now - days * 86400) if days else query

    async def _new(self) -> Any:
        query = (
            select(dkim_key, domain.c.name.label("domain"))
            .join(domain, domain.c.id == dkim_key.c.domain_id)
            .where(dkim_key.c.state == "new")
            # Those that DNS shows first: a key that nobody publishes must not stand in their way.
            .order_by(dkim_key.c.seen_at.is_(None), dkim_key.c.id.desc())
            .limit(MOST_NEW)
        )
        async with self._database.reading() as transaction:
            return [dict(row._mapping) for row in await transaction.rows(query)]

    async def _look_for(self, row: Mapping[str, Any]) -> None:
        name = f"{row['selector']}._domainkey.{row['domain']}"
        try:
            there = await is_published(self._resolver, name, row["record"])
        except DnsUnavailable:
            return
        now = time.time()
        seen = (row["seen_at"] or now) if there else None
        async with self._database.transaction() as transaction:
            mine = update(dkim_key).where(dkim_key.c.id == row["id"])
            if seen != row["seen_at"]:
                await transaction.execute(mine.values(seen_at=seen))
            if seen is not None and now - seen >= self._settings.dkim_wait_seconds:
                await dkim_keys.start_signing(transaction, row)
                log.info("DKIM key signs", domain=row["domain"], selector=row["selector"])
