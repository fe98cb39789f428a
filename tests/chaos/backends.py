"""Where a round's platform keeps its things, and how to look at them from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.chaos.evidence import PostgresRows, Rows, SqliteRows
from tests.servers.clamd import Clamd
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.seaweedfs import SeaweedFS


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a run."""

    rabbitmq: RabbitMQ
    postgres: Postgres
    clamd: Clamd
    seaweedfs: SeaweedFS | None = None
    """Only where a round keeps its blobs in S3."""


class Backends(Protocol):
    """One round's own database, queues and blobs."""

    database_url: str
    queue_url: str
    blob_url: str
    rows: Rows

    async def queue_lengths(self) -> dict[str, int]:
        """Jobs, or frames of jobs, in each queue."""
        ...


class RealBackends:
    """A fresh database and vhost of the servers; segments in files, or in a fresh bucket."""

    def __init__(self, servers: Servers, folder: Path, *, s3: bool = False) -> None:
        self._rabbitmq = servers.rabbitmq
        self.vhost = servers.rabbitmq.new_vhost()
        self.database_url = servers.postgres.url(servers.postgres.new_database())
        self.queue_url = servers.rabbitmq.url(self.vhost)
        self.blob_url = f"file:{folder / 'blobs'}"
        if s3 and servers.seaweedfs:
            self.blob_url = servers.seaweedfs.url(servers.seaweedfs.new_bucket())
        self.rows: Rows = PostgresRows(self.database_url)

    async def queue_lengths(self) -> dict[str, int]:
        """By rabbitmqctl: a passive declaration may be stale."""
        return await asyncio.to_thread(self._rabbitmq.queue_lengths, self.vhost)


class EmbeddedBackends:
    """Files only, as on a single machine."""

    vhost = ""

    def __init__(self, folder: Path) -> None:
        self.database_url = f"sqlite:///{folder / 'holub.db'}"
        self.queue_url = f"sqlite:///{folder / 'queue.db'}"
        self.blob_url = f"file:{folder / 'blobs'}"
        self.rows: Rows = SqliteRows(folder / "holub.db")
        self._jobs = SqliteRows(folder / "queue.db")

    async def queue_lengths(self) -> dict[str, int]:
        """By the table of jobs."""
        found = await self._jobs.fetch("SELECT queue, COUNT(*) FROM job GROUP BY queue")
        return {row[0]: row[1] for row in found}


@contextmanager
def servers(folder: Path, *, s3: bool = False) -> Iterator[Servers]:
    """Start the servers; PostgreSQL with fsync, for it will be killed."""
    for name in ("rabbitmq", "postgres", "clamd", "seaweedfs"):
        (folder / name).mkdir()
    made = Servers(
        RabbitMQ(folder / "rabbitmq"),
        Postgres(folder / "postgres", fsync=True),
        Clamd(folder / "clamd"),
        SeaweedFS(folder / "seaweedfs") if s3 else None,
    )
    try:
        made.rabbitmq.launch()
        made.postgres.start()
        made.clamd.start()
        if made.seaweedfs:
            made.seaweedfs.start()
        made.rabbitmq.wait()
        yield made
    finally:
        if made.seaweedfs:
            made.seaweedfs.stop()
        made.clamd.stop()
        made.postgres.stop()
        made.rabbitmq.stop()
