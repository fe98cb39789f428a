"""CPU time, memory and syncs of whole families of processes, read from /proc.

CPU is user and system time of every process of a family, children that were reaped included, in
seconds (the kernel counts in hundredths).  Memory is PSS where the kernel gives it: a page that
several processes share is counted once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 1.0


def _stats() -> dict[int, tuple[int, float]]:
    """pid -> (parent, CPU seconds) of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The program's name may hold spaces and parentheses; fields are counted after it.
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
            found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) / _TICK)
    return found


def family(root: int, stats: Mapping[int, tuple[int, float]] | None = None) -> list[int]:
    """A process and all its descendants."""
    known = _stats() if stats is None else stats
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in known.items():
        children.setdefault(parent, []).append(pid)
    members, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        members.append(pid)
        waiting += children.get(pid, [])
    return members


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of each family since its start."""
    stats = _stats()
    return {
        name: sum(stats[pid][1] for pid in family(root, stats) if pid in stats)
        for name, root in roots.items()
    }


def memory_octets(roots: Mapping[str, int]) -> tuple[int, int]:
    """(PSS, RSS) of all families now."""
    stats = _stats()
    pids = [pid for root in roots.values() for pid in family(root, stats)]
    pss = rss = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rss += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
            pss += _pss(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return pss, rss


def _pss(rollup: str) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@dataclass(slots=True)
class Peak:
    """The highest memory seen, in octets."""

    pss: int = 0
    rss: int = 0
    samples: int = 0

    def sample(self, roots: Mapping[str, int]) -> None:
        """Look once."""
        pss, rss = memory_octets(roots)
        self.pss, self.rss = max(self.pss, pss), max(self.rss, rss)
        self.samples += 1


@contextlib.contextmanager
def peak_memory(roots: Mapping[str, int]) -> Iterator[Peak]:
    """Watch the families' memory once a second within the block."""
    peak = Peak()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            peak.sample(roots)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.sample(roots)


@dataclass(slots=True)
class Syncs:
    """Calls of fsync and its kin, by family; empty when strace cannot be used."""

    counts: dict[str, int] = field(default_factory=dict)
    why_not: str = ""


@contextlib.contextmanager
def counted_syncs(roots: Mapping[str, int], folder: Path) -> Iterator[Syncs]:
    """Count with strace within the block; the run is slow and its times mean nothing."""
    syncs = Syncs()
    program = shutil.which("strace")
    if program is None:
        syncs.why_not = "strace is not installed"
        yield syncs
        return
    tracers = {name: _trace(program, root, folder / name) for name, root in roots.items()}
    try:
        yield syncs
    finally:
        for name, tracer in tracers.items():
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
            syncs.counts[name] = _count((folder / name).with_suffix(".strace"))


def _trace(program: str, root: int, target: Path) -> subprocess.Popen[bytes]:
    pids = [word for pid in family(root) for word in ("-p", str(pid))]
    command = [program, "-f", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,msync,syncfs"]
    command += ["-o", str(target.with_suffix(".strace")), *pids]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        # It has no sign of being attached; a second is ample.
        process.wait(1)
    return process


def _count(summary: Path) -> int:
    # "% time, seconds, usecs/call, calls[, errors], syscall": the calls are the fourth column.
    if not summary.exists():
        return 0
    rows = [line.split() for line in summary.read_text().splitlines()]
    names = {"fsync", "fdatasync", "sync_file_range", "msync", "syncfs"}
    return sum(int(row[3]) for row in rows if row and row[-1] in names)
