"""Filter, delivery and storage at work on one platform, and what they made of messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.admin import aliases
from libs.common.admin.principal import local_operator
from libs.common.blobstore import open_blobstore
from libs.common.db import Database
from libs.common.db.schema import (
    account,
    deferred,
    mailbox,
    mailbox_message,
    message,
    outcome,
    trace,
)
from libs.common.jobs import (
    Client,
    DeliveryJob,
    Envelope,
    FilterJob,
    Recipient,
    RecordHeader,
    RelayJob,
    Verdict,
    decode,
    encode,
    new_mail_id,
)
from libs.common.jobs.record import encode_header
from libs.common.mailstore.messages import message_row
from libs.common.queue import open_queue
from libs.common.runtime.health import Health
from libs.common.runtime.settings import PlatformSettings
from libs.common.scripts import activate, put_script
from libs.protocols.message.summary import summarise
from services.delivery.service import run as deliver
from services.filter.service import run as look
from services.platform import Platform
from services.storage.service import run as keep

DOMAIN = "example.test"
ROOT = local_operator("test")
CONTENT = b"From: you@elsewhere.example\r\nTo: alice@example.test\r\nSubject: hello\r\n\r\ntext\r\n"


class Post:
    """A post office on one platform."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.ids: dict[str, int] = {}

    async def accounts(self, *names: str) -> None:
        database = self.platform.database
        await create_domain(database, DOMAIN, exists_ok=True)
        await create_accounts(database, [f"{name}@{DOMAIN}" for name in names], "!")
        async with database.reading() as transaction:
            rows = await transaction.rows(select(account.c.address, account.c.id))
        self.ids = {row.address.partition("@")[0]: row.id for row in rows}

    async def alias(self, name: str, *targets: str) -> None:
        await aliases.put_alias(self.platform.database, ROOT, f"{name}@{DOMAIN}", targets, add=True)

    async def script(self, name: str, text: str) -> None:
        async with self.platform.database.transaction() as transaction:
            await put_script(transaction, self.ids[name], "main", text.encode())
            await activate(transaction, self.ids[name], "main")

    async def send(self, *to: str, content: bytes = CONTENT, **fields: Any) -> str:
        """Put a message, and wait until each recipient has an end; its mail_id."""
        job = await self.job(*to, content=content, **fields)
        await self.platform.queue.put("filter", [encode(FilterJob(job.blob, job.header))])
        await self.ended(job.header.mail_id, len(to))
        return job.header.mail_id

    async def job(
        self,
        *to: str,
        content: bytes = CONTENT,
        sender: str = "you@elsewhere.example",
        verdict: Verdict = Verdict.ACCEPT,
        prefix: str = "",
        client: Client | None = None,
    ) -> DeliveryJob:
        recipients = tuple(Recipient(n, f"{name}@{DOMAIN}") for n, name in enumerate(to))
        header = RecordHeader(
            mail_id=new_mail_id(),
            received_at=time.time(),
            envelope=Envelope(sender, recipients),
            listener="mx",
            hostname="mail.example.test",
            client=client or Client("192.0.2.1", helo="mx.elsewhere.example"),
        )
        ref = await self.platform.blobs.put(encode_header(header), content, key=header.mail_id)
        return DeliveryJob(ref, header, len(content), verdict, prefix)

    async def row(self, job: DeliveryJob, content: bytes = CONTENT) -> None:
        """The row that filter would write."""
        values = message_row(
            job.header, job.blob, job.size, b"", summarise(content), verdict=job.verdict
        )
        async with self.platform.database.transaction() as transaction:
            await transaction.insert(message, [values])

    async def ended(self, mail_id: str, count: int) -> None:
        async def done() -> bool:
            return len(await self.states(mail_id)) == count

        await eventually(done)

    async def states(self, mail_id: str) -> dict[str, str]:
        rows = await self.rows(outcome)
        return {row.recipient: row.state for row in rows if row.mail_id == mail_id}

    async def why(self, mail_id: str) -> str:
        (row,) = [row for row in await self.rows(outcome) if row.mail_id == mail_id]
        return str(row.detail)

    async def sieve_steps(self, mail_id: str) -> list[str]:
        rows = await self.rows(trace)
        return [row.why for row in rows if row.mail_id == mail_id and row.what == "sieve"]

    async def boxes(self, name: str) -> dict[str, list[str]]:
        """Subjects by mailbox, of those that hold any."""
        found: dict[str, list[str]] = {}
        for row in await self.messages(name):
            found.setdefault(row.name, []).append(row.subject)
        return found

    async def messages(self, name: str) -> Sequence[Any]:
        query = (
            select(
                mailbox.c.name,
                message.c.subject,
                message.c.mail_id,
                message.c.segment,
                message.c.record_offset,
                message.c.record_length,
                mailbox_message.c.flags,
                mailbox_message.c.keywords,
            )
            .join_from(mailbox_message, mailbox, mailbox.c.id == mailbox_message.c.mailbox_id)
            .join(message, message.c.mail_id == mailbox_message.c.mail_id)
            .where(mailbox.c.account_id == self.ids[name])
            .order_by(mailbox_message.c.mailbox_id, mailbox_message.c.uid)
        )
        async with self.platform.database.reading() as transaction:
            return await transaction.rows(query)

    async def forwards(self) -> list[RelayJob]:
        return [decode(bytes(row.job), RelayJob) for row in await self.rows(deferred)]

    async def rows(self, table: Table) -> Sequence[Any]:
        async with self.platform.database.reading() as transaction:
            return await transaction.rows(select(table))


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 15) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def open_post(database: Database, folder: Path) -> AsyncIterator[Post]:
    """The roles at work until the end of the block."""
    blobs = open_blobstore(f"file:{folder}/blobs")
    queue = open_queue(f"sqlite:///{folder}/queue.db")
    platform = Platform(PlatformSettings(), database, queue, blobs, Health())
    tasks = [asyncio.create_task(role(platform)) for role in (look, deliver, keep)]
    try:
        yield Post(platform)
    finally:
        platform.stopping.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        await queue.close()
        await blobs.close()
