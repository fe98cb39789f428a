"""What a role is given when it starts: settings, the three backends, and a way to stop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from libs.common.accounts.authenticator import Authenticator
from libs.common.accounts.settings import AuthenticationSettings
from libs.common.accounts.shared_secret import open_sealer
from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.db import Database, DatabaseUnavailable, open_database
from libs.common.limits import Limits
from libs.common.mailstore import MailStore
from libs.common.queue import open_queue
from libs.common.queue.protocol import Queue, QueueError
from libs.common.queue.worker import Handle, Worker
from libs.common.runtime.health import Health
from libs.common.runtime.sealer import Sealer
from libs.common.runtime.settings import PlatformSettings
from libs.common.runtime.tls import Certificates
from libs.common.trace import park


class StartError(Exception):
    """Why the platform cannot start, as one line that says what to do."""


@dataclass(slots=True)
class Platform:
    """One per process, shared by the roles in it."""

    settings: PlatformSettings
    database: Database
    queue: Queue
    blobs: BlobStore
    health: Health
    limits: Limits = field(init=False)
    _authenticator: Authenticator | None = field(init=False, default=None)
    _certificates: Certificates | None = field(init=False, default=None)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limits = Limits(self.database)

    def ready(self, role: str, ready: bool = True) -> None:
        """A role takes work, or does so no more (/readyz)."""
        self.health.ready(role, ready)

    async def until_ready(self) -> None:
        """Wait until every role is ready, or it is time to stop."""
        while self.health.waiting_for and not self.stopping.is_set():
            await asyncio.sleep(0.05)

    async def authenticator(self) -> Authenticator:
        """Who checks logins; from now on failures are counted together with other replicas."""
        if self._authenticator is None:
            self.limits.start()
            settings = AuthenticationSettings.load()
            self._authenticator = Authenticator(self.database, self.limits, settings)
            await self._authenticator.start()
        return self._authenticator

    def tls(self) -> ssl.SSLContext | None:
        """What listeners speak TLS with, or None without a certificate.

        `SettingsError` names the file that cannot be read.
        """
        if not self.settings.tls_certificate:
            return None
        if self._certificates is None:
            self._certificates = Certificates(self.settings)
            self._certificates.start()
        return self._certificates.context

    async def close(self) -> None:
        """Stop what was started for roles in common."""
        if self._certificates is not None:
            await self._certificates.close()
        if self._authenticator is not None:
            await self._authenticator.close()
        await self.limits.close()

    async def sealer(self) -> Sealer:
        """What private keys are sealed with."""
        return await open_sealer(self.database, self.settings.secret.get_secret_value())

    def mailstore(self) -> MailStore:
        """The mailboxes; what is expunged can be had back for the days that are set."""
        return MailStore(
            self.database,
            self.blobs,
            self.queue,
            recoverable_seconds=self.settings.recoverable_days * 86400,
        )

    def worker(
        self,
        queue: str,
        handle: Handle,
        *,
        most: int,
        concurrency: int = 1,
        interval: float | Callable[[], float] = 0.0,
        patience: tuple[type[Exception], ...] = (),
    ) -> Worker:
        """The loop over one queue: what cannot be done is parked, an outage is waited for.

        `patience` names further exceptions that mean an outage.
        """
        return Worker(
            self.queue,
            queue,
            handle,
            lambda lease, reason: park(self.database, queue, lease, reason),
            most=most,
            prefetch=most * concurrency * 2,
            concurrency=concurrency,
            interval=interval,
            transient=(DatabaseUnavailable, QueueError, BlobError, *patience),
        )

    def note(self, role: str, text: str) -> None:
        """A line for the table that a person sees at the start, e.g. a listener."""
        self.notes.append((role, text))


@asynccontextmanager
async def open_platform(settings: PlatformSettings) -> AsyncIterator[Platform]:
    """Open the backends that the URLs name; close them in reverse order at the end."""
    database = open_database(settings.database_url, pool=settings.database_pool)
    blobs = open_blobstore(settings.blob_url)
    queue = open_queue(settings.queue_url)
    platform = Platform(settings, database, queue, blobs, Health())
    try:
        yield platform
    finally:
        await platform.close()
        await queue.close()
        await blobs.close()
        await database.close()
