"""A PostgreSQL cluster of one's own, with a migrated template for new databases."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.servers.process import (
    ServerProcess,
    ServerUnavailable,
    accepts,
    find_program,
    free_ports,
    unprivileged,
)

_ROOT = Path(__file__).resolve().parent.parent.parent
_TEMPLATE = "holub_template"
_CONFIG = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
fsync = {fsync}
synchronous_commit = {fsync}
full_page_writes = {fsync}
max_connections = 200
shared_buffers = 128MB
max_wal_size = 2GB
logging_collector = off
log_min_messages = warning
"""
_MIGRATE = """\
import asyncio, sys
from libs.common.db import open_database
from libs.common.db.migrate import migrate
async def main():
    database = open_database(sys.argv[1])
    await migrate(database)
    await database.close()
asyncio.run(main())
"""


class Postgres:
    """One cluster; with `fsync` it may be killed and started again without losing a commit."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self._folder = folder
        newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name)
        self._bin = str(newest[-1]) if newest else ""
        self._data = folder / "data"
        self._user = unprivileged("postgres", "nobody")
        self._fsync = fsync
        (self.port,) = free_ports(1)
        self.process = ServerProcess(
            [*self._user, find_program("postgres", self._bin), "-D", str(self._data)],
            folder,
            log="postgres.log",
        )
        self._numbers = itertools.count(1)
        self._has_template = False

    def _init(self) -> None:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        if self._user:
            name = self._user[1].removeprefix("--reuid=")
            shutil.chown(folder, int(name))
            _open_the_way(folder)
        self._run(
            find_program("initdb", self._bin),
            *("-D", str(self._data), "-U", "holub", "-A", "trust", "--no-sync", "-E", "UTF8"),
            *("--locale=C", "--no-instructions"),
        )
        with (self._data / "postgresql.conf").open("a") as config:
            config.write(_CONFIG.format(port=self.port, fsync="on" if self._fsync else "off"))

    def _run(self, *argv: str) -> str:
        done = subprocess.run(
            [*self._user, *argv],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise ServerUnavailable(f"{argv[0]}: {done.stderr}\n{self.process.tail()}")
        return done.stdout

    def launch(self) -> None:
        """Start without waiting; makes the cluster when there is none."""
        if not self._data.exists():
            self._init()
        # After a SIGKILL the file stays, and its pid may belong to somebody else by now.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self.process.launch()

    def wait(self, seconds: float = 60) -> None:
        """Wait until it takes connections: after a crash only when it has recovered."""
        check = [find_program("pg_isready", self._bin), "-q", "-h", "127.0.0.1"]
        check += ["-p", str(self.port), "-U", "holub"]
        self.process.wait_until(
            lambda: accepts(self.port) and subprocess.run(check, check=False).returncode == 0,
            seconds,
        )

    def start(self) -> None:
        """Start, and return when it takes connections."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """SIGKILL of the postmaster and all its processes."""
        self.process.kill()

    def stop(self) -> None:
        """End it at once (SIGQUIT)."""
        self.process.kill(signal.SIGQUIT)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run statements with psql; the rows, unaligned."""
        return self._run(
            find_program("psql", self._bin),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", "holub", "-d", database),
            *("-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement),
        )

    def url(self, database: str) -> str:
        """HOLUB_DATABASE_URL of a database."""
        return f"postgresql://holub:holub@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, migrated: bool = True) -> str:
        """The name of a fresh database, with the schema of this version or empty."""
        name = f"holub{next(self._numbers)}"
        if migrated:
            self._make_template()
        template = _TEMPLATE if migrated else "template0"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _make_template(self) -> None:
        if self._has_template:
            return
        self.sql(f"CREATE DATABASE {_TEMPLATE}")
        done = subprocess.run(
            [sys.executable, "-c", _MIGRATE, self.url(_TEMPLATE)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            # A broken migration is a fault of the project, not a server that cannot be had.
            raise RuntimeError(f"the migrations failed:\n{done.stderr}")
        self._has_template = True


def _open_the_way(folder: Path) -> None:
    """Let other users pass through the (private) folders above ours; pytest makes them 0700."""
    for parent in folder.parents:
        if parent == Path("/tmp") or parent == parent.parent:
            return
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o011)
