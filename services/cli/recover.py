"""`holub recoverable`: what was expunged, and putting it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy import select

from libs.common.db.schema import account
from libs.common.mailstore import MailStore
from libs.common.runtime.settings import PlatformSettings
from services.cli import table
from services.platform import StartError, open_platform

T = TypeVar("T")


def _with_store(address: str, work: Callable[[MailStore, int], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_platform(PlatformSettings.load()) as platform:
            async with platform.database.reading() as transaction:
                query = select(account.c.id).where(account.c.address == address.lower())
                number = await transaction.scalar(query)
            if number is None:
                raise StartError(f"there is no account {address}; see: holub account list")
            store = MailStore(platform.database, platform.blobs, platform.queue)
            return await work(store, number)

    return asyncio.run(run())


def list_recoverable(address: str, as_json: bool) -> None:
    """Print what can be had back, the newest first."""
    rows = _with_store(address, lambda store, number: store.recoverable(number))
    shown = [
        {
            "id": row.id,
            "mailbox": row.mailbox,
            "subject": row.subject[:60],
            "octets": row.size,
            "expunged": _day(row.expunged_at),
            "until": _day(row.expires_at),
        }
        for row in rows
    ]
    table.show(shown, as_json, f"Expunged mail of {address}")


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def restore(address: str, ids: Sequence[int], mailbox: str, hours: float) -> int:
    """Put back what is named, or all of a mailbox or of the last hours; how many came back."""

    async def work(store: MailStore, number: int) -> list[tuple[str, int]]:
        since = time.time() - hours * 3600 if hours else 0.0
        chosen = [
            row.id
            for row in await store.recoverable(number)
            if (not ids or row.id in ids)
            and (not mailbox or row.mailbox == mailbox)
            and row.expunged_at >= since
        ]
        return await store.restore(number, chosen)

    return len(_with_store(address, work))
