"""The forgetful disk keeps what was synced, with its name, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import disk

_WRITER = """
import os, sys
from tests.chaos import disk
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.fsync = disk._noting(os.fsync, log)
exec(sys.argv[2])
"""
_WRITE = "f = os.open('d/a', os.O_CREAT | os.O_WRONLY); os.write(f, b'synced'); "
_SYNC = "os.fsync(f); "
_NAME = "d = os.open('d', os.O_RDONLY); os.fsync(d); "


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        (_WRITE + _SYNC + _NAME, b"synced"),
        (_WRITE + _SYNC + _NAME + "os.write(f, b' lost')", b"synced"),
        (_WRITE + _SYNC + "os.rename('d/a', 'd/b'); os.rename('d/b', 'd/a'); " + _NAME, b"synced"),
        (_WRITE + _SYNC, None),
        (_WRITE + _NAME, None),
        (_WRITE, None),
    ],
)
def test_what_was_not_synced_is_gone(tmp_path: Path, steps: str, left: bytes | None) -> None:
    (tmp_path / "d").mkdir()
    log = tmp_path / "log"
    env = {**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[2])}
    subprocess.run(
        [sys.executable, "-c", _WRITER, str(log), steps], cwd=tmp_path, env=env, check=True
    )

    disk.cut(tmp_path / "d", log)

    path = tmp_path / "d" / "a"
    assert (path.read_bytes() if path.exists() else None) == left
