"""greylist: who has not been here before is asked to come again in a while (RFC 6647).

What is remembered is (network, reverse-path, recipient), and how often a network came again: from
some number on it is let through without questions.  Shared by the replicas in the table `greylist`;
while that is away everybody is let through.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import greylist
from libs.common.runtime.log import get_logger
from services.ingress.screen.rule import Finding, against

log = get_logger(__name__)
RULE = "greylist"
RETRY_SECONDS = 2 * 86400
"""So long a first attempt is remembered (RFC 6647 §4.2: at least a day)."""
KEPT_SECONDS = 36 * 86400
"""So long one who came again is remembered: a monthly letter is not asked twice."""
_AGAIN_SECONDS = 86400
"""How old what is remembered must be before it is written anew."""
_PURGE_SECONDS = 300.0
_DATABASE_SECONDS = 2.0
_MOST_WELCOME = 20_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a key."""

    first_at: float
    passes: int
    """How often it was let through after it came again."""
    expires_at: float


def decide(
    triplet: Seen | None, network: Seen | None, now: float, delay: float, welcome_after: int
) -> str:
    """`welcome`, `known`, `returned`, `early` or `new`."""
    if network is not None and welcome_after and network.passes >= welcome_after:
        return "welcome"
    if triplet is None:
        return "new"
    if triplet.passes:
        return "known"
    return "returned" if now >= triplet.first_at + delay else "early"


def network_of(ip: str) -> str:
    """Hosts that may try in turn: a /24, or a /64 of IPv6."""
    return str(ip_network(f"{ip}/{64 if ':' in ip else 24}", strict=False))


class Greylist:
    """Asks the table, and keeps who is welcome in memory."""

    def __init__(self, database: Database, delay: float, welcome_after: int) -> None:
        self._database = database
        self._delay = delay
        self._welcome_after = welcome_after
        self._welcome: OrderedDict[str, float] = OrderedDict()
        self._purge_at = 0.0

    async def ask(self, ip: str, reverse_path: str, recipient: str) -> Finding:
        """Whether this may come now; never an exception."""
        now, network = time.time(), network_of(ip)
        if self._welcome.get(network, 0.0) > now:
            return Finding(RULE, "welcome")
        text = f"{network}\n{reverse_path.lower()}\n{recipient.lower()}"
        triplet = "t:" + hashlib.sha256(text.encode()).hexdigest()[:40]
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                outcome = await self._ask(triplet, f"n:{network}", now)
        except (DatabaseUnavailable, SQLAlchemyError, TimeoutError) as error:
            log.warning("nobody is greylisted now", error=str(error) or "the database is slow")
            return Finding(RULE, "unknown")
        if outcome == "welcome":
            self._remember(network, now)
        if outcome not in ("new", "early"):
            return Finding(RULE, outcome)
        wait = f"please try again in {round(self._delay)} seconds"
        return against(RULE, outcome, 451, "4.7.1", f"you are new here; {wait}")

    def _remember(self, network: str, now: float) -> None:
        self._welcome[network] = now + _AGAIN_SECONDS
        self._welcome.move_to_end(network)
        if len(self._welcome) > _MOST_WELCOME:
            self._welcome.popitem(last=False)

    async def _ask(self, triplet: str, network: str, now: float) -> str:
        async with self._database.reading() as transaction:
            seen = await _seen(transaction, (triplet, network), now)
        outcome = decide(
            seen.get(triplet), seen.get(network), now, self._delay, self._welcome_after
        )
        changed = self._changed(outcome, triplet, network, seen, now)
        if outcome == "new" or changed:
            async with self._database.transaction() as transaction:
                await self._purge(transaction, (triplet, network), now)
                for key in changed:
                    await _pass(transaction, key, now)
                if outcome == "new":
                    row = _row(triplet, now, 0, now + self._delay + RETRY_SECONDS)
                    await transaction.insert(greylist, [row], ignore=True)
        return outcome

    def _changed(
        self, outcome: str, triplet: str, network: str, seen: Mapping[str, Seen], now: float
    ) -> list[str]:
        """Keys that came through, as far as that is news."""
        if outcome == "returned":
            return [network, triplet]
        key = {"welcome": network, "known": triplet}.get(outcome)
        if key is None or seen[key].expires_at > now + KEPT_SECONDS - _AGAIN_SECONDS:
            return []
        return [key]

    async def _purge(self, transaction: Transaction, keys: Sequence[str], now: float) -> None:
        """What is over is nobody's past; of these keys at once, of all others now and then."""
        over = delete(greylist).where(greylist.c.expires_at <= now)
        if now < self._purge_at:
            over = over.where(in_list(greylist.c.key, keys, transaction.dialect))
        else:
            self._purge_at = now + _PURGE_SECONDS
        await transaction.execute(over)


async def _seen(transaction: Transaction, keys: Sequence[str], now: float) -> dict[str, Seen]:
    query = select(
        greylist.c.key, greylist.c.first_at, greylist.c.passes, greylist.c.expires_at
    ).where(in_list(greylist.c.key, keys, transaction.dialect), greylist.c.expires_at > now)
    return {
        row.key: Seen(row.first_at, row.passes, row.expires_at)
        for row in await transaction.rows(query)
    }


async def _pass(transaction: Transaction, key: str, now: float) -> None:
    values = {"passes": greylist.c.passes + 1, "expires_at": now + KEPT_SECONDS}
    if not await transaction.execute(
        update(greylist).where(greylist.c.key == key).values(**values)
    ):
        await transaction.insert(greylist, [_row(key, now, 1, now + KEPT_SECONDS)], ignore=True)


def _row(key: str, now: float, passes: int, expires_at: float) -> dict[str, object]:
    return {"key": key, "first_at": now, "passes": passes, "expires_at": expires_at}
