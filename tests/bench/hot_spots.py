"""Where a role spends its time: py-spy on its process, as microseconds for each message.

py-spy is looked for in HOLUB_PYSPY, then in PATH; it is no dependency of the project.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.bench.run import RunFailed

_RATE = "250"
# Samples that end here wait for events, or for a processor: on a busy machine py-spy takes a thread
# that could run for one that runs.  They are left out, and the others share the CPU time.
_WAITS = ("Runner.run (", "Condition.wait (", "epoll_pwait (", "Event.wait (", "_worker (")

# What nearly every stack begins with tells nothing.
_FRAME = 0.8


@dataclass(frozen=True, slots=True)
class Spot:
    """One function, its share of all samples by itself and with what it calls."""

    function: str
    own: float
    total: float


class Profiler:
    """Samples one process from `start` to `stop`."""

    def __init__(self, target: Path, pid: int) -> None:
        self._pid = pid
        self._target = target
        program = os.environ.get("HOLUB_PYSPY") or shutil.which("py-spy")
        if not program:
            raise RunFailed("py-spy is not installed: `pip install py-spy`, or set HOLUB_PYSPY")
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin."""
        command = [
            self._program,
            "record",
            "--pid",
            str(self._pid),
            "--rate",
            _RATE,
            "--format",
            "raw",
        ]
        command += ["--function", "--duration", "600", "--output", str(self._target)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> list[Spot]:
        """End; the functions, the dearest first."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        if not self._target.exists():
            raise RunFailed("py-spy gave nothing; it needs root or ptrace rights")
        return read_stacks(self._target.read_text())


def read_stacks(text: str) -> list[Spot]:
    """Spots from collapsed stacks: `outer;inner COUNT` on each line."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if frames[-1].startswith(_WAITS):
            continue
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    samples = sum(own.values()) or 1
    return [Spot(name, own[name] / samples, n / samples) for name, n in total.most_common()]


def print_spots(role: str, cpu_us: float, spots: list[Spot], count: int = 30) -> None:
    """Two tables: by own time and with what is called."""
    print(f"\n{role}: {cpu_us:.0f} us of CPU for each message")
    for title, key in (("own time", "own"), ("with what it calls", "total")):
        print(f"  {title}")
        ours = [spot for spot in spots if getattr(spot, key) < _FRAME]
        for spot in sorted(ours, key=lambda s: -float(getattr(s, key)))[:count]:
            share = float(getattr(spot, key))
            print(f"  {share * cpu_us:8.0f} us {share:6.1%}  {spot.function}")
