"""One run: one load through one subject, measured and read back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.bench.generator import Sent
from tests.bench.measure import cpu_seconds, peak_memory
from tests.bench.subject import DOMAIN, Subject
from tests.bench.workload import Workload

_ROOT = Path(__file__).resolve().parent.parent.parent
_STALLED_SECONDS = 60.0


class Load(msgspec.Struct, frozen=True):
    """What the generator is asked for."""

    load: str
    messages: int
    connections: int = 20
    per_connection: int = 100
    pipelining: bool = False
    accounts: int = 20
    seed: int = 1

    def arguments(self, port: int, first: int) -> list[str]:
        """The generator's command line."""
        words = ["--port", str(port), "--first", str(first), "--domain", DOMAIN]
        for name in ("load", "messages", "connections", "per_connection", "accounts", "seed"):
            words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        return words + (["--pipelining"] if self.pipelining else [])


class Result(msgspec.Struct, frozen=True):
    """The figures of one run."""

    subject: str
    load: str
    messages: int
    seconds: float
    """From the first MAIL to the last message that IMAP can show."""
    p50_ms: float
    p99_ms: float
    cpu: dict[str, float]
    """CPU seconds by family."""
    pss: int
    rss: int
    generator_cpu: float

    @property
    def rate(self) -> float:
        """Durable messages a second, end to end."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds for each message, all families."""
        return sum(self.cpu.values()) * 1e6 / self.messages


class RunFailed(Exception):
    """A run whose figures mean nothing: refusals, or mail that does not arrive."""


class Generator:
    """The load generator's process; messages are built before `go`."""

    def __init__(self, load: Load, port: int, first: int) -> None:
        command = [sys.executable, "-m", "tests.bench.generator", *load.arguments(port, first)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RunFailed("the generator did not start")

    def go(self) -> Sent:
        """Send all; `RunFailed` when anything was refused."""
        out, _ = self._process.communicate("go\n")
        sent = msgspec.json.decode(out, type=Sent)
        if sent.refused:
            raise RunFailed(f"{len(sent.refused)} refusals, the first: {sent.refused[0]}")
        return sent


def wait_stored(subject: Subject, count: int) -> float:
    """Wait until so many messages are stored; the time at which they were seen."""
    last, moved = -1, time.monotonic()
    while True:
        asked = time.monotonic()
        now = subject.stored()
        took = time.monotonic() - asked
        if now >= count:
            return asked + took
        if now != last:
            last, moved = now, asked
        if asked - moved > _STALLED_SECONDS:
            raise RunFailed(f"{subject.name}: {now} of {count} messages stored, and no more come")
        # The question costs its own machine time; at most a tenth of a processor.
        time.sleep(max(0.02, took * 9))


class Tally:
    """What was sent to one subject since its start, so that all of it can be read back."""

    def __init__(self) -> None:
        self.count = 0
        self.digests: dict[int, bytes] = {}

    def add(self, load: Load) -> int:
        """Note a load that is about to be sent; the number of its first message."""
        first = self.count
        workload = Workload(load.load, load.seed)
        for number in range(first, first + load.messages):
            self.digests[number] = workload.message(number).sha256()
        self.count += load.messages
        return first


def warm_up(subject: Subject, tally: Tally, load: Load, messages: int) -> None:
    """Send a few that are not measured: connections, caches and mailboxes are made once."""
    if messages:
        send_all(subject, tally, msgspec.structs.replace(load, messages=messages))


def send_all(subject: Subject, tally: Tally, load: Load) -> None:
    """Send a load and wait until it is stored; nothing is measured."""
    first = tally.add(load)
    Generator(load, subject.smtp_port, first).go()
    wait_stored(subject, tally.count)


def measure(
    subject: Subject,
    tally: Tally,
    load: Load,
    during: Callable[[], None] = lambda: None,
) -> Result:
    """Send a load and measure until all of it is stored; `during` runs as it begins."""
    first = tally.add(load)
    generator = Generator(load, subject.smtp_port, first)
    roots = subject.roots()
    before = cpu_seconds(roots)
    with peak_memory(roots) as peak:
        during()
        sent = generator.go()
        ended = wait_stored(subject, tally.count)
        after = cpu_seconds(roots)
    return Result(
        subject=subject.name,
        load=load.load,
        messages=sent.sent,
        seconds=ended - sent.began,
        p50_ms=sent.p50_ms,
        p99_ms=sent.p99_ms,
        cpu={name: after[name] - before[name] for name in roots},
        pss=peak.pss,
        rss=peak.rss,
        generator_cpu=sent.cpu_seconds,
    )
