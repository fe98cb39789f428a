"""What `duplicate` has seen (RFC 7352): asked while a script runs, noted with the plan."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import delete, select

from libs.common.db import Database, Transaction
from libs.common.db.schema import duplicate_log
from libs.protocols.sieve.run import Tracked
from services.delivery.arrival import Claim


class Unanswered(Exception):
    """A script asked for an id that nobody has looked up yet."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Answers(dict[str, bool]):
    """What one run may know: a script cannot wait for the database."""

    def __missing__(self, key: str) -> bool:
        raise Unanswered(key)


class Duplicates:
    """The ids of the database, and those of the batch in hand, which are not committed yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_hand: set[tuple[int, str]] = set()

    def forget(self) -> None:
        """A new batch begins: what the last one noted is committed, or did not happen."""
        self._in_hand.clear()

    async def seen(self, account: int, key: str) -> bool:
        """Did a message with this id come before?"""
        if (account, key) in self._in_hand:
            return True
        query = select(duplicate_log.c.until).where(
            duplicate_log.c.account_id == account,
            duplicate_log.c.key == key,
            duplicate_log.c.until > time.time(),
        )
        async with self._database.reading() as transaction:
            return await transaction.scalar(query) is not None

    def note(self, account: int, tracked: Iterable[Tracked], now: float) -> list[Claim]:
        """What is to be written when the script has come to its end (RFC 7352 §3)."""
        claims = []
        for one in tracked:
            self._in_hand.add((account, one.key))
            claims.append(_noted(account, one, now))
        return claims


def _noted(account: int, one: Tracked, now: float) -> Claim:
    async def claim(transaction: Transaction) -> bool:
        row = {"account_id": account, "key": one.key, "until": now + one.seconds}
        mine = (duplicate_log.c.account_id == account) & (duplicate_log.c.key == one.key)
        if await transaction.insert_new(duplicate_log, [row], ("account_id", "key")):
            old = (duplicate_log.c.account_id == account) & (duplicate_log.c.until <= now)
            await transaction.execute(delete(duplicate_log).where(old))
            return True
        # `:last` lets the period begin anew; without it, only one that is over does.
        due = mine if one.last else mine & (duplicate_log.c.until <= now)
        changed = duplicate_log.update().where(due).values(until=row["until"])
        return await transaction.execute(changed) > 0

    return claim
