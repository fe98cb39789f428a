"""Messages for the relay, and what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Table, select, update

from libs.common.db.schema import deferred, outcome
from libs.common.jobs import (
    Client,
    Envelope,
    Recipient,
    RecordHeader,
    RelayJob,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from services.platform import Platform
from services.relay.service import run

CONTENT = b"From: alice@example.test\r\nSubject: hello\r\n\r\n.dot\r\ntext\r\n"


@asynccontextmanager
async def relaying(platform: Platform) -> AsyncIterator[None]:
    platform.stopping.clear()
    task = asyncio.create_task(run(platform))
    try:
        yield
    finally:
        platform.stopping.set()
        await asyncio.wait_for(task, 10)


async def stored(
    platform: Platform,
    *addresses: str,
    content: bytes = CONTENT,
    domain: str = "other.test",
    **fields: Any,
) -> RelayJob:
    recipients = tuple(Recipient(n, address) for n, address in enumerate(addresses))
    values: dict[str, Any] = {
        "client": Client("192.0.2.1", helo="pc", account=1, login="alice@example.test"),
        "received_at": time.time(),
        "envelope": Envelope("alice@example.test", recipients),
    }
    header = RecordHeader(mail_id=new_mail_id(), hostname="mail.example.test", **(values | fields))
    ref = await platform.blobs.put(encode_header(header), content, key=header.mail_id)
    ns = tuple(r.n for r in header.envelope.recipients)
    return RelayJob(ref, header, len(content), domain, ns)


async def put(platform: Platform, *jobs: RelayJob) -> None:
    await platform.queue.put("relay", [encode(job) for job in jobs])


async def rows(platform: Platform, table: Table) -> Sequence[Any]:
    async with platform.database.reading() as transaction:
        return await transaction.rows(select(table))


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 15) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.02)
    return found


async def states(platform: Platform, count: int) -> dict[int, str]:
    """The states of so many recipients, once they are all known."""

    async def check() -> dict[int, str]:
        found = {row.n: row.state for row in await rows(platform, outcome)}
        waiting = [row for row in await rows(platform, deferred) if not row.lease_owner]
        found |= {row.n: "deferred" for row in waiting}
        return found if len(found) == count else {}

    return await eventually(check)


async def make_due(platform: Platform) -> None:
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(deferred).values(next_attempt_at=0.0))


async def all_relayed(platform: Platform, count: int) -> bool:
    return [row.state for row in await rows(platform, outcome)] == ["relayed"] * count


async def idle(platform: Platform) -> bool:
    return (await platform.queue.depth("relay")).jobs == 0
