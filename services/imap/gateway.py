"""What all sessions of the process share: the store, the directory, and who watches what."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from libs.common.accounts.authenticator import Authenticator
from libs.common.db import DatabaseUnavailable
from libs.common.mailstore import MailStore
from libs.common.runtime.log import get_logger
from services.imap.settings import ImapSettings
from services.imap.shared import GONE, Mailboxes
from services.imap.summaries import Summaries

if TYPE_CHECKING:
    from services.imap.session import Session

log = get_logger(__name__)
SESSIONS = Gauge("holub_imap_sessions", "Open sessions.")
COMMANDS = Counter("holub_imap_commands_total", "Commands answered.", ["command", "result"])
CATCH_UP_SECONDS = 5.0


class Gateway:
    """Wakes the sessions whose mailbox changed, on a notice or by comparing MODSEQs."""

    def __init__(
        self,
        settings: ImapSettings,
        store: MailStore,
        authenticator: Authenticator,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.authenticator = authenticator
        self.tls = tls
        self.sessions: set[Session] = set()
        self.stopping = False
        self.searches = asyncio.Semaphore(settings.max_searches)
        self.spool_folder = settings.spool_folder or None
        self.mailboxes = Mailboxes(store, settings.view_messages)
        self.summaries = Summaries(store, settings.summary_octets)
        self._tasks: list[asyncio.Task[None]] = []
        SESSIONS.set_function(lambda: len(self.sessions))

    @property
    def full(self) -> bool:
        """No room for another session."""
        return self.stopping or len(self.sessions) >= self.settings.max_connections

    def start(self) -> None:
        """From now on sessions are woken."""
        self._tasks = [
            asyncio.create_task(self._hear()),
            asyncio.create_task(self._compare()),
        ]

    async def drain(self) -> None:
        """Let commands under way finish, say BYE to all, and end those who take too long."""
        self.stopping = True
        for session in list(self.sessions):
            session.stop()
        end = time.monotonic() + self.settings.drain_seconds
        while self.sessions and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for session in list(self.sessions):
            session.stream.abort()

    async def close(self) -> None:
        """Stop waking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hint(self, mailbox_ids: Iterable[int]) -> None:
        for number in mailbox_ids:
            if (box := self.mailboxes.get(number)) is not None:
                box.hint()

    async def _hear(self) -> None:
        async for mailbox_ids in self.store.changes():
            self._hint(mailbox_ids)

    async def _compare(self) -> None:
        """Notices are hints (rule 11): one query for all open mailboxes finds what was missed."""
        while True:
            await asyncio.sleep(CATCH_UP_SECONDS)
            boxes = self.mailboxes.watched()
            try:
                found = await self.store.highestmodseqs([box.mailbox.id for box in boxes])
            except DatabaseUnavailable as error:
                log.warning("cannot compare mailboxes", error=str(error))
                continue
            for box in boxes:
                # A mailbox that is gone is news as well.
                if box.modseq != found.get(box.mailbox.id, GONE):
                    box.hint()
