"""pytest's view of the servers: started once for the session, fresh room for each test.

A server that cannot be had skips the test with the reason; with HOLUB_REQUIRE_SERVERS=1 (set
in CI, where all of them must be there) it fails instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.servers.clamd import Clamd
from tests.servers.dns import Dns
from tests.servers.dovecot import Dovecot
from tests.servers.needed import unavailable
from tests.servers.postgres import Postgres
from tests.servers.process import ServerUnavailable
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.rspamd import Rspamd
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.spamd import Spamd


class _Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


S = TypeVar("S", bound=_Server)


def _serve(name: str, make: Callable[[Path], S], folder: Path) -> Iterator[S]:
    folder = folder / name
    folder.mkdir()
    server = None
    try:
        server = make(folder)
        server.start()
        yield server
    except ServerUnavailable as error:
        unavailable(f"{name}: {error}")
    finally:
        if server is not None:
            server.stop()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where the servers keep their data and logs; kept for a look when HOLUB_KEEP_SERVERS=1."""
    # Short, because a unix socket's path may have only 107 octets.
    folder = Path(tempfile.mkdtemp(prefix="holub-"))
    folder.chmod(0o755)
    yield folder
    if os.environ.get("HOLUB_KEEP_SERVERS") != "1":
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def dovecot(servers_folder: Path) -> Iterator[Dovecot]:
    """The session's other IMAP server."""
    yield from _serve("dovecot", Dovecot, servers_folder)


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path) -> Iterator[RabbitMQ]:
    """The session's broker."""
    yield from _serve("rabbitmq", RabbitMQ, servers_folder)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    """The session's database cluster."""
    yield from _serve("postgres", Postgres, servers_folder)


@pytest.fixture(scope="session")
def clamd(servers_folder: Path) -> Iterator[Clamd]:
    """The session's scanner."""
    yield from _serve("clamd", Clamd, servers_folder)


@pytest.fixture(scope="session")
def rspamd(servers_folder: Path) -> Iterator[Rspamd]:
    """The session's rspamd."""
    yield from _serve("rspamd", Rspamd, servers_folder)


@pytest.fixture(scope="session")
def spamd(servers_folder: Path) -> Iterator[Spamd]:
    """The session's SpamAssassin."""
    yield from _serve("spamd", Spamd, servers_folder)


@pytest.fixture(scope="session")
def seaweedfs(servers_folder: Path) -> Iterator[SeaweedFS]:
    """The session's S3 server."""
    yield from _serve("seaweedfs", SeaweedFS, servers_folder)


@pytest.fixture(scope="session")
def dns(servers_folder: Path) -> Iterator[Dns]:
    """The session's signed zones and validating resolver."""
    yield from _serve("dns", Dns, servers_folder)


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQ) -> str:
    """HOLUB_QUEUE_URL of a fresh vhost."""
    return rabbitmq.url(rabbitmq.new_vhost())


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """HOLUB_DATABASE_URL of a fresh database with the schema of this version."""
    return postgres.url(postgres.new_database())


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> str:
    """HOLUB_DATABASE_URL of a fresh database without any table."""
    return postgres.url(postgres.new_database(migrated=False))


@pytest.fixture
def s3_url(seaweedfs: SeaweedFS) -> str:
    """HOLUB_BLOB_URL of a fresh bucket."""
    return seaweedfs.url(seaweedfs.new_bucket())
