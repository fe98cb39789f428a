"""One server process: started, watched, stopped by its pid, with its log at hand."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

_TAIL = 3000


class ServerUnavailable(Exception):
    """Why a server cannot be had here: not installed, or it does not start (with its log)."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different.

    They are below the range from which the kernel takes ports for outgoing connections, so that
    none of them is taken by a client before its server is up.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def find_program(name: str, *folders: str) -> str:
    """The path of a program, looked for in `folders` and then in PATH."""
    path = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which(name, path=path):
        return found
    raise ServerUnavailable(f"{name} is not installed")


def accepts(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged(*names: str) -> list[str]:
    """The prefix that runs a program as the first of these users; empty when we are not root."""
    if os.getuid() != 0:
        return []
    for name in names:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [find_program("setpriv"), *ids]
    raise ServerUnavailable(f"running as root, and none of the users {', '.join(names)} exists")


# The death signal is sent when the *thread* that started the child ends, so that one must live on.
_SPAWNER = ThreadPoolExecutor(1, "spawner")


class ServerProcess:
    """A child in its own process group; nothing of it outlives `kill`, nor our own death."""

    def __init__(
        self, argv: Sequence[str], folder: Path, *, log: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._argv = list(argv)
        self._folder = folder
        self._env = {**os.environ, **(env or {})}
        self.log = folder / log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the running process."""
        if self._process is None:
            raise ServerUnavailable(f"{self._argv[0]} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> str:
        """How it ended, in words: a signal's name or an exit code."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "running"
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

    def launch(self) -> None:
        """Start it without waiting for anything."""
        guard = [setpriv, "--pdeathsig=KILL"] if (setpriv := shutil.which("setpriv")) else []
        # Two calls of setpriv would undo the death signal, for a change of user clears it.
        argv = [self._argv[0], guard[1], *self._argv[1:]] if self._is_guarded() else None
        with self.log.open("ab") as log:
            self._process = _SPAWNER.submit(
                subprocess.Popen,
                argv or [*guard, *self._argv],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).result()

    def _is_guarded(self) -> bool:
        return Path(self._argv[0]).name == "setpriv"

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait for `ready`; `ServerUnavailable` with the log's tail when it ends or is late."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ServerUnavailable(f"{self._argv[0]} ended at its start:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerUnavailable(
                    f"{self._argv[0]} was not ready after {seconds:.0f} s:\n{self.tail()}"
                )
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing happens when it has ended."""
        # Only while it is not reaped does its pid belong to it and to nobody else.
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def kill(self, number: signal.Signals = signal.SIGKILL, seconds: float = 15) -> None:
        """End it and all its children, by force when it does not end within `seconds`."""
        if self._process is None:
            return
        family = self._children()
        self.send(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait(seconds)
        _end(family, time.monotonic() + seconds)

    def _children(self) -> list[psutil.Process]:
        # PostgreSQL's children leave the group, so the group alone does not name them all.
        if not self.running:
            return []
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def tail(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return "(no log)"
        return self.log.read_bytes()[-_TAIL:].decode("utf-8", "replace")


def _end(family: Sequence[psutil.Process], deadline: float) -> None:
    """SIGKILL, and wait until they are gone; what is left as a zombie holds nothing any more."""
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            while member.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
                time.sleep(0.01)


class Daemon:
    """A server that is one process, which can be made to hang."""

    process: ServerProcess

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and never answers."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
