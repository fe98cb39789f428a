"""Verdicts that sessions wait for, and what becomes of a message that was refused."""

from __future__ import annotations

import asyncio
import time

import msgspec
from prometheus_client import Gauge
from sqlalchemy import delete, update

from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.bulk import in_list
from libs.common.db.schema import outcome, quarantine
from libs.common.jobs import VerdictReply
from libs.common.queue.protocol import Queue
from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive
from libs.common.trace import TraceRow, write_trace
from services.ingress.engines import Engines

log = get_logger(__name__)
_WAITING = Gauge("holub_ingress_waiting_verdicts", "Sessions that wait for a verdict.")


class Verdicts:
    """Hands each `VerdictReply` to the session that waits for it; late ones are dropped.

    A dropped one is no loss: filter has recorded what it decided before it replies.
    """

    def __init__(self, queue: Queue, database: Database, engines: Engines | None = None) -> None:
        self._queue = queue
        self._engines = engines
        self._database = database
        self._waiting: dict[str, asyncio.Future[VerdictReply]] = {}
        self._refused: list[tuple[str, str]] = []
        self._given_up = False
        self._tasks: list[asyncio.Task[None]] = []
        self.address = ""
        _WAITING.set_function(lambda: len(self._waiting))

    async def start(self) -> None:
        """From now on replies find us."""
        self.address = await self._queue.reply_address()
        self._tasks = [
            asyncio.create_task(self._dispatch()),
            asyncio.create_task(self._record_refused()),
        ]

    async def close(self) -> None:
        """Record what is left."""
        for task in self._tasks:
            task.cancel()
        await self._flush()

    def expect(self, mail_id: str) -> asyncio.Future[VerdictReply]:
        """To be called before the job is put, so that no reply is too early."""
        future: asyncio.Future[VerdictReply] = asyncio.get_running_loop().create_future()
        self._waiting[mail_id] = future
        if self._given_up:
            _late(future)
        return future

    def give_up(self) -> None:
        """The process ends: all verdicts are late from here on, and clients hear their 250."""
        self._given_up = True
        for future in self._waiting.values():
            _late(future)

    def forget(self, mail_id: str) -> None:
        """Nobody waits any more."""
        self._waiting.pop(mail_id, None)

    async def _dispatch(self) -> None:
        decoder = msgspec.json.Decoder(VerdictReply)
        async for body in self._queue.replies():
            reply = decoder.decode(body)
            if self._engines is not None:
                self._engines.verdict_came()
            future = self._waiting.get(reply.mail_id)
            if future is not None and not future.done():
                future.set_result(reply)

    def refused(self, mail_id: str, text: str) -> None:
        """The client heard 550: what filter recorded as quarantined is turned into refused.

        Best effort: when it is lost, the message stays in quarantine, which is safe (rule 4).
        """
        self._refused.append((mail_id, text))

    async def _record_refused(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._flush()

    async def _flush(self) -> None:
        refused, self._refused = self._refused, []
        if not refused:
            return
        ids = [mail_id for mail_id, _ in refused]
        with survive(log, "refused messages stay in quarantine", DatabaseUnavailable):
            async with self._database.transaction() as transaction:
                ours = in_list(outcome.c.mail_id, ids, transaction.dialect)
                await transaction.execute(
                    update(outcome)
                    .where(ours, outcome.c.state == "quarantined")
                    .values(state="refused", at=time.time())
                )
                held = in_list(quarantine.c.mail_id, ids, transaction.dialect)
                await transaction.execute(delete(quarantine).where(held))
                await write_trace(
                    transaction,
                    [TraceRow(m, "ingress", "refused", why=text) for m, text in refused],
                )


def _late(future: asyncio.Future[VerdictReply]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("the process ends"))
        future.exception()  # seen, in case nobody comes to wait for it
