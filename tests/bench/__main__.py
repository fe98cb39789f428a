"""`python -m tests.bench`: the command line (`make bench`)."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.bench import report
from tests.bench.holub import ROLES, Cluster, Embedded
from tests.bench.hot_spots import Profiler, print_spots
from tests.bench.measure import counted_syncs
from tests.bench.postfix import PostfixDovecot
from tests.bench.readback import compare
from tests.bench.run import Load, Result, RunFailed, Tally, measure, send_all, warm_up
from tests.bench.subject import Subject
from tests.bench.workload import LOADS
from tests.servers.process import ServerUnavailable

SUBJECTS: dict[str, Callable[[Path, int], Subject]] = {
    "postfix": PostfixDovecot,
    "cluster": Cluster,
    "embedded": Embedded,
}
_MESSAGES = {"4k": 4000, "64k": 1000, "corpus": 2000}
_WARM_UP = 200
_SYNC_MESSAGES = 400


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=["4k", "corpus"])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved, A B C A B C ...")
    parser.add_argument("--quick", action="store_true", help="one round, a quarter of the mail")
    parser.add_argument(
        "--messages", type=int, default=0, help="for each load; 0: its usual number"
    )
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--per-connection", type=int, default=100)
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure")
    parser.add_argument(
        "--profile",
        nargs="+",
        metavar="ROLE",
        choices=[*ROLES, "holub"],
        default=[],
        help="py-spy on these processes (`holub`: the one of embedded)",
    )
    parser.add_argument("--no-syncs", action="store_true", help="do not count fsync calls")
    parser.add_argument("--write", action="store_true", help="also into docs/benchmarks.md")
    parser.add_argument("--keep", action="store_true", help="keep folders with logs")
    return parser.parse_args()


def _loads(asked: argparse.Namespace) -> list[Load]:
    share = 4 if asked.quick else 1
    return [
        Load(
            load=name,
            messages=asked.messages or _MESSAGES[name] // share,
            connections=asked.connections,
            per_connection=asked.per_connection,
            pipelining=asked.pipelining,
            accounts=asked.accounts,
            seed=asked.seed,
        )
        for name in asked.loads
    ]


@contextmanager
def _started(name: str, asked: argparse.Namespace) -> Iterator[tuple[Subject, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="holub-bench-", dir=asked.folder))
    folder.chmod(0o755)
    subject = None
    try:
        subject = SUBJECTS[name](folder, asked.accounts)
        subject.start()
        yield subject, folder
    finally:
        if subject is not None:
            subject.stop()
        if asked.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


class Bench:
    """All rounds: results, and what is to be said about them."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._loads = _loads(asked)
        self.results: list[Result] = []
        self.durability: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self.read_back = 0

    def round(self, name: str, *, last: bool) -> None:
        """One subject, fresh: all loads, then everything is read back."""
        with _started(name, self._asked) as (subject, folder):
            self.durability.setdefault(subject.name, subject.durability())
            tally = Tally()
            warm_up(subject, tally, self._loads[0], _WARM_UP)
            for load in self._loads:
                result = self._measure(subject, tally, load, folder)
                self.results.append(result)
                _print_line(result)
            if last and not self._asked.no_syncs:
                self._count_syncs(subject, tally, folder)
            self._read_back(subject, tally)

    def _measure(self, subject: Subject, tally: Tally, load: Load, folder: Path) -> Result:
        profilers = {
            role: Profiler(folder / f"{role}-{load.load}.stacks", pid)
            for role, pid in subject.roots().items()
            if role in self._asked.profile
        }

        def start() -> None:
            for profiler in profilers.values():
                profiler.start()

        result = measure(subject, tally, load, during=start)
        for role, profiler in profilers.items():
            print_spots(role, result.cpu[role] * 1e6 / result.messages, profiler.stop())
        return result

    def _count_syncs(self, subject: Subject, tally: Tally, folder: Path) -> None:
        for load in self._loads:
            few = msgspec.structs.replace(load, messages=_SYNC_MESSAGES)
            with counted_syncs(subject.roots(), folder) as syncs:
                send_all(subject, tally, few)
            each = {name: n / few.messages for name, n in syncs.counts.items() if n}
            parts = ", ".join(f"{name} {n:.2f}" for name, n in each.items())
            told = syncs.why_not or f"{sum(each.values()):.2f} ({parts})"
            self.notes.append(
                f"fsync and fdatasync for each message, {subject.name}, {load.load}: {told}"
            )

    def _read_back(self, subject: Subject, tally: Tally) -> None:
        found = compare(subject.imap_port, self._asked.accounts, tally.digests)
        print(f"  {subject.name}: read back through IMAP: {found}", flush=True)
        if not found.clean:
            raise RunFailed(f"{subject.name}: {found}")
        self.read_back += found.equal


def _print_line(result: Result) -> None:
    parts = ", ".join(f"{n} {s * 1e6 / result.messages:.0f}" for n, s in result.cpu.items())
    print(
        f"  {result.subject:16} {result.load:7} {result.rate:7.0f}/s {result.cpu_us:7.0f} us"
        f"  p50 {result.p50_ms:.1f} p99 {result.p99_ms:.1f} ms"
        f"  pss {result.pss // 2**20} rss {result.rss // 2**20} MiB  [{parts}]",
        flush=True,
    )


def _available(names: list[str], bench: Bench, *, last: bool) -> list[str]:
    """Run one round; the subjects that could be had."""
    left = []
    for name in names:
        try:
            bench.round(name, last=last)
            left.append(name)
        except ServerUnavailable as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return left


def run(asked: argparse.Namespace) -> int:
    """All rounds, then the report."""
    bench = Bench(asked)
    names, rounds = list(asked.subjects), 1 if asked.quick else asked.rounds
    began = time.monotonic()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        names = _available(names, bench, last=number == rounds - 1)
    if not bench.results:
        return 1
    bench.notes.append(
        f"{bench.read_back:,} messages were read back through IMAP, each equal by SHA-256;"
        f" {time.monotonic() - began:,.0f} s in all"
    )
    command = "python -m tests.bench " + shlex.join(sys.argv[1:])
    lines = report.block(bench.results, command.strip(), bench.durability, bench.notes)
    print("\n" + "\n".join(lines))
    if asked.write:
        report.write(lines)
    return 0


def main() -> int:
    """The exit code: 0, or 1 when a run failed or nothing could be measured."""
    # So that SIGTERM, too, stops every server that was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(_arguments())
    except RunFailed as error:
        print(f"the figures do not count: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
