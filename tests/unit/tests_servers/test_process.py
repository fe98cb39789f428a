"""A server's process is ended with its children, and nobody else's process ever is."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.servers.process import ServerProcess, ServerUnavailable

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_children_that_left_the_group_are_ended_too(tmp_path: Path) -> None:
    process = ServerProcess([sys.executable, "-c", _PARENT], tmp_path, log="log")
    process.launch()
    process.wait_until(lambda: process.log.read_text().endswith("\n"), 20)
    child = psutil.Process(int(process.log.read_text()))

    process.kill()

    assert not process.running
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_pid_of_an_ended_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives it to others, and what we sent would end theirs."""
    process = ServerProcess(["true"], tmp_path, log="log")
    process.launch()
    while process.running:
        time.sleep(0.01)
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a stranger was signalled"))
    monkeypatch.setattr(psutil, "Process", lambda *_: pytest.fail("a stranger was looked up"))

    process.send(signal.SIGTERM)
    process.kill()

    assert process.status == "exit 0"


def test_a_server_that_ends_at_its_start_shows_its_log(tmp_path: Path) -> None:
    process = ServerProcess(["sh", "-c", "echo no such folder; exit 3"], tmp_path, log="log")
    process.launch()

    with pytest.raises(ServerUnavailable, match="no such folder"):
        process.wait_until(lambda: False, 20)
