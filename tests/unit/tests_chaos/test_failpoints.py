"""The failpoints of the product are found and armed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.chaos.failpoints import Failpoints, discover, in_the_flow
from tests.chaos.supervisor import ROOT

_PROCESS = """
from libs.common.runtime.failpoint import failpoint_sync
failpoint_sync("a.b")
failpoint_sync("c.d")
"""


def test_every_failpoint_in_the_source_is_found() -> None:
    assert {"storage.before_commit", "gc.copied", "rescan.moved"} <= set(discover(ROOT))


def test_what_mail_does_not_pass_is_not_waited_for() -> None:
    assert in_the_flow(["gc.copied", "storage.before_commit"]) == ["storage.before_commit"]


def _run(points: Failpoints) -> int:
    env = {**os.environ, **points.environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", _PROCESS], env=env, check=False).returncode


def test_a_failpoint_kills_once_and_says_so(tmp_path: Path) -> None:
    points = Failpoints(tmp_path / "points")
    points.arm("c.d kill once")

    assert (_run(points), _run(points)) == (-9, 0)
    assert (points.fired("c.d"), points.fired("a.b")) == (1, 0)
    assert points.hits() == {"a.b": 2, "c.d": 2}


def test_disarmed_failpoints_do_nothing(tmp_path: Path) -> None:
    points = Failpoints(tmp_path / "points")
    points.arm("c.d kill once")
    points.arm()

    assert _run(points) == 0
