"""Holub as it is measured: roles as processes over real backends, or all in one on the defaults."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.subject import DOMAIN, PASSWORD
from tests.servers.postgres import Postgres
from tests.servers.process import ServerProcess, free_ports
from tests.servers.rabbitmq import RabbitMQ

_ROOT = Path(__file__).resolve().parent.parent.parent
_HOLUB = str(Path(sys.executable).parent / "holub")
_COUNT = "SELECT count(*) FROM mailbox_message"
_READY_SECONDS = 90.0
ROLES = ("storage", "delivery", "filter", "imap", "ingress")


class _Platform:
    """What both forms share: processes of `holub run`, their settings, accounts."""

    name = ""

    def __init__(self, folder: Path, accounts: int) -> None:
        self._folder = folder
        self._accounts = accounts
        self.smtp_port, self.imap_port = free_ports(2)
        self._environment: dict[str, str] = {}
        self._processes: dict[str, ServerProcess] = {}
        self._health: dict[str, int] = {}

    def _settings(self, database: str, queue: str) -> dict[str, str]:
        return {
            "HOLUB_DATABASE_URL": database,
            "HOLUB_QUEUE_URL": queue,
            "HOLUB_BLOB_URL": f"file:{self._folder}/blobs",
            "HOLUB_INGRESS_SMTP_PORT": str(self.smtp_port),
            # Without an engine on either side there is no verdict that a client could wait for.
            "HOLUB_INGRESS_VERDICT_SECONDS": "0",
            "HOLUB_INGRESS_SUBMISSION_PORT": "0",
            "HOLUB_INGRESS_SUBMISSIONS_PORT": "0",
            "HOLUB_INGRESS_LMTP_PORT": "0",
            "HOLUB_IMAP_PORT": str(self.imap_port),
            "HOLUB_IMAP_TLS_PORT": "0",
            "HOLUB_IMAP_ALLOW_PLAIN_LOGIN": "true",
            "HOLUB_API_PORT": "0",
        }

    def _administer(self) -> None:
        self._command("migrate")
        self._command("domain", "create", DOMAIN)
        count = ["--count", str(self._accounts), "--password-stdin"]
        self._command("account", "create", f"bench@{DOMAIN}", *count, text=f"{PASSWORD}\n")

    def _command(self, *words: str, text: str = "") -> None:
        done = subprocess.run(
            [_HOLUB, *words],
            env={**os.environ, **self._environment},
            cwd=self._folder,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"holub {' '.join(words)}: {done.stderr}{done.stdout}")

    def _launch(self, *roles: str) -> None:
        name = "holub" if len(roles) > 1 or roles == ("all",) else roles[0]
        (port,) = free_ports(1)
        environment = {**self._environment, "HOLUB_HEALTH_PORT": str(port)}
        process = ServerProcess(
            [_HOLUB, "run", *roles], self._folder, log=f"{name}.log", env=environment
        )
        process.launch()
        self._processes[name] = process
        self._health[name] = port

    def _wait_ready(self) -> None:
        for name, process in self._processes.items():
            port = self._health[name]
            process.wait_until(lambda port=port: _ready(port), _READY_SECONDS)  # type: ignore[misc]

    def _stop_roles(self) -> None:
        for process in self._processes.values():
            process.send(signal.SIGTERM)
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline and any(p.running for p in self._processes.values()):
            time.sleep(0.05)
        for process in self._processes.values():
            process.kill()

    def roots(self) -> dict[str, int]:
        """A family for each process of ours."""
        return {name: process.pid for name, process in self._processes.items()}


class Cluster(_Platform):
    """Each role a process; RabbitMQ, PostgreSQL with fsync, segments in files."""

    name = "holub cluster"

    def __init__(self, folder: Path, accounts: int) -> None:
        super().__init__(folder, accounts)
        self._rabbitmq = RabbitMQ(_made(folder / "rabbitmq"))
        self._postgres = Postgres(_made(folder / "postgres"), fsync=True)
        self._database = ""

    def start(self) -> None:
        """Backends, schema, accounts, roles."""
        self._rabbitmq.launch()
        self._postgres.start()
        self._rabbitmq.wait()
        self._database = self._postgres.new_database(migrated=False)
        queue = self._rabbitmq.url(self._rabbitmq.new_vhost())
        self._environment = self._settings(self._postgres.url(self._database), queue)
        self._administer()
        for role in ROLES:
            self._launch(role)
        self._wait_ready()

    def stop(self) -> None:
        """Roles first, so that they can drain."""
        self._stop_roles()
        self._rabbitmq.stop()
        self._postgres.stop()

    def roots(self) -> dict[str, int]:
        """Ours, the broker and the database."""
        backends = {
            "rabbitmq": self._rabbitmq.process.pid,
            "postgres": self._postgres.process.pid,
        }
        return super().roots() | backends

    def stored(self) -> int:
        """Rows that IMAP shows."""
        return int(self._postgres.sql(_COUNT, self._database))

    def durability(self) -> list[str]:
        """As the database says, and the design of the rest."""
        names = ("fsync", "synchronous_commit", "full_page_writes", "server_version")
        shown = [f"{n} = {self._postgres.sql(f'SHOW {n}').strip()}" for n in names]
        return [
            "PostgreSQL: " + ", ".join(shown),
            "RabbitMQ: quorum queues of one member, publisher confirms",
            "segments: files, fdatasync before the 250, group commit",
        ]


class Embedded(_Platform):
    """`holub run all`: SQLite for rows and queue, segments in files."""

    name = "holub embedded"

    def start(self) -> None:
        """Schema, accounts, one process."""
        database = f"sqlite:////{str(self._folder / 'holub.db').lstrip('/')}"
        queue = f"sqlite:////{str(self._folder / 'queue.db').lstrip('/')}"
        self._environment = self._settings(database, queue)
        self._administer()
        self._launch("all")
        self._wait_ready()

    def stop(self) -> None:
        """End it."""
        self._stop_roles()

    def stored(self) -> int:
        """Rows that IMAP shows."""
        link = sqlite3.connect(f"file:{self._folder}/holub.db?mode=ro", uri=True, timeout=10)
        try:
            return int(link.execute(_COUNT).fetchone()[0])
        finally:
            link.close()

    def durability(self) -> list[str]:
        """The design; the pragmas are those of each connection."""
        return [
            "SQLite: WAL, synchronous=FULL for rows and queue",
            "segments: files, fdatasync before the 250, group commit",
        ]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
