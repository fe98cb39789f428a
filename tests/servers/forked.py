"""Processes of `holub` that skip the imports: forked from one that has made them.

What costs seconds in a command is loading the libraries, and the tests run hundreds of commands.
Each is a process of its own all the same, with its own arguments, environment and streams; what
starts a process anew (`make run`, the chaos rounds) is tested by real starts.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

_LOADED = (
    "services.cli.main",
    "services.cli.local",
    "services.cli.demo",
    "alembic.command",
    *(f"services.{role}.service" for role in ("storage", "delivery", "relay", "filter", "imap")),
    *(f"services.{role}.service" for role in ("pop3", "managesieve", "ingress", "api")),
)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    return context


def _run(
    words: Sequence[str], env: Mapping[str, str], cwd: str, streams: tuple[str, str, str]
) -> None:
    """Become `holub WORDS`: this is the new process."""
    given, out, err = streams
    os.dup2(os.open(given, os.O_RDONLY), 0)
    os.dup2(os.open(out, os.O_WRONLY | os.O_APPEND), 1)
    os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND), 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (as long as the process lives)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["holub", *words]
    from services.cli.main import main

    main()


class Forked:
    """A running command, with those names of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        *,
        given: Path = Path(os.devnull),
        out: Path,
        err: Path,
    ) -> None:
        for path in (out, err):
            path.touch()
        streams = (str(given), str(out), str(err))
        self._process: ForkServerProcess = _context().Process(
            target=_run, args=(list(words), dict(env), str(cwd), streams), daemon=True
        )
        self._process.start()
        self.args = ["holub", *words]

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As `subprocess` has it: minus the number of the signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Unless it ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(
    words: Sequence[str], env: Mapping[str, str], cwd: Path, given: str, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").write_text(given)
        process = Forked(
            words, env, cwd, given=folder / "in", out=folder / "out", err=folder / "err"
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out, err = (folder / "out").read_text(), (folder / "err").read_text()
    return subprocess.CompletedProcess(process.args, code, out, err)
