"""A chaos run: servers, platform, load, faults, healing, draining, judging."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import disk
from tests.chaos.backends import EmbeddedBackends, RealBackends, Servers, servers
from tests.chaos.client import Load
from tests.chaos.content import Mix, Plan
from tests.chaos.evidence import Evidence, read_all_mailboxes, read_rows
from tests.chaos.failpoints import Failpoints, discover, in_the_flow
from tests.chaos.judge import Budget, Check, Judge, table
from tests.chaos.ledger import Ledger, Outcome, read_ledger
from tests.chaos.members import (
    DOMAIN,
    OUTSIDE,
    PASSWORD,
    RELAY_AT_ONCE,
    SENDER,
    Platform,
    add_members,
    add_one,
    certificate,
    prepare,
)
from tests.chaos.nemesis import Nemesis
from tests.chaos.rounds import BUGS, ROUNDS, Round
from tests.chaos.sink import Sink
from tests.chaos.supervisor import ROOT, Supervisor

_CONNECTIONS = 6
_MUST_CRASH = ("ingress", "filter", "delivery", "storage", "blobstore", "queue")
"""Roles and parts whose every failpoint must have killed a process in a whole run."""
_BY_CHANCE = ("storage.swept",)
"""Passed only when a queue lost something while it was armed, which no round makes sure of."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is made."""

    seed: int
    short: bool = True
    bug: str = ""
    per_second: float = 25.0
    accounts: int = 12
    drain_seconds: float = 120.0


@dataclass(slots=True)
class Result:
    """What a round came to."""

    round: str
    checks: list[Check]
    fired: set[str]
    notes: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Violations in all."""
        return sum(len(check.violations) for check in self.checks)


class Play:
    """One round under way."""

    def __init__(self, which: Round, made: Servers, options: Options, folder: Path) -> None:
        self._round = which
        self._servers = made
        self._options = options
        self._folder = folder
        self._began = time.monotonic()
        self._backends = (
            EmbeddedBackends(folder) if which.embedded else RealBackends(made, folder, s3=which.s3)
        )
        accounts = tuple(f"person{n}@{DOMAIN}" for n in range(1, options.accounts + 1))
        run = f"{which.name}{options.seed}"
        self._plan = Plan(run, options.seed, accounts, SENDER, OUTSIDE, Mix())
        self._failpoints = Failpoints(folder / "failpoints")
        self._ledger_path = folder / "ledger.jsonl"
        self._sink = Sink(folder / "sink.jsonl")
        self._environment = self._settings()
        self._supervisor = Supervisor(folder, self._environment, options.seed)
        self._notes: list[str] = []

    def _settings(self) -> dict[str, str]:
        return {
            "HOLUB_DATABASE_URL": self._backends.database_url,
            "HOLUB_QUEUE_URL": self._backends.queue_url,
            "HOLUB_BLOB_URL": self._backends.blob_url,
            "HOLUB_LOG_FORMAT": "json",
            "HOLUB_SEEDED_BUG": self._options.bug,
            **certificate(self._folder),
            **self._failpoints.environment,
            **self._round.environment,
        }

    def tell(self, text: str) -> None:
        """One line of the round's history."""
        print(f"  {time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    async def play(self) -> Result:
        """The whole round."""
        print(f"round {self._round.name}: {self._round.what}", flush=True)
        await prepare(self._backends.database_url, self._plan.accounts)
        await self._sink.start()
        platform = self._members()
        nemesis = self._nemesis()
        try:
            await self._supervisor.start()
            self.tell("all roles are ready")
            ledger = Ledger(self._ledger_path)
            await self._under_load(platform, nemesis, ledger)
            await self._drain(ledger)
            return await self._judge(platform, nemesis)
        finally:
            late = await self._supervisor.stop()
            if late:
                self._notes.append(f"not stopped by SIGTERM: {', '.join(late)}")
            await self._sink.stop()

    def _members(self) -> Platform:
        log = str(self._folder / "synced.jsonl")
        argv = (sys.executable, "-m", "tests.chaos.disk", log) if self._round.power else ()
        add = add_one if self._round.embedded else add_members
        clamd = self._servers.clamd.url
        return add(self._supervisor, clamd=clamd, sink=self._sink.port, argv=argv)

    def _nemesis(self) -> Nemesis:
        return Nemesis(
            self._options.seed,
            self._supervisor,
            self._failpoints,
            self._servers,
            self._backends.vhost,
            self.tell,
            in_the_flow(discover(ROOT, embedded=self._round.embedded, s3=self._round.s3)),
        )

    async def _under_load(self, platform: Platform, nemesis: Nemesis, ledger: Ledger) -> None:
        load = Load(
            self._plan,
            ledger,
            platform.mx,
            platform.submission,
            connections=_CONNECTIONS,
            per_second=self._options.per_second,
        )
        sending = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(3)
            await self._round.script(nemesis, self._options.short)
            if self._round.power:
                await self._lose_power()
            await asyncio.sleep(1)
        finally:
            load.stop()
            await sending
        counts = {outcome.value: n for outcome, n in ledger.outcomes.items() if n}
        self.tell(f"load ends: {counts}")
        if load.unanswered:
            self.tell(f"connections that nobody took: {load.unanswered}")
        if load.refusals:
            self.tell(f"refusals: {load.refusals}")

    async def _lose_power(self) -> None:
        self._supervisor.kill_all()
        blobs = self._folder / "blobs"
        files, octets = disk.cut(blobs, self._folder / "synced.jsonl")
        self.tell(f"power lost: {files} files and {octets} octets were not synced and are gone")
        await self._supervisor.start()

    async def _drain(self, ledger: Ledger) -> None:
        """Wait until everything accepted has an outcome and nothing waits anywhere."""
        self._failpoints.arm()
        await self._supervisor.ready()
        accepted = ledger.outcomes[Outcome.ACCEPTED]
        deadline = time.monotonic() + self._options.drain_seconds
        while left := await self._left():
            if time.monotonic() > deadline:
                self._notes.append(f"not drained in time: {left}")
                break
            await asyncio.sleep(1)
        self.tell(f"drained: {accepted} messages accepted; left: {left or 'nothing'}")

    async def _left(self) -> dict[str, int]:
        seen = Evidence()
        await read_rows(self._backends.rows, seen)
        lengths = await self._backends.queue_lengths()
        missing = [
            (attempt.mail_id, recipient)
            for attempt in read_ledger(self._ledger_path)
            if attempt.outcome is Outcome.ACCEPTED
            for recipient in attempt.recipients
            if (attempt.mail_id, recipient) not in seen.outcomes
        ]
        left = {name: count for name, count in lengths.items() if count}
        left |= {"outbox": seen.outbox, "deferred": len(seen.deferred), "missing": len(missing)}
        return {name: count for name, count in left.items() if count}

    async def _judge(self, platform: Platform, nemesis: Nemesis) -> Result:
        evidence = Evidence(taken=self._sink.taken, deaths=self._supervisor.deaths)
        await read_rows(self._backends.rows, evidence)
        evidence.queues = await self._backends.queue_lengths()
        accounts = [*self._plan.accounts, SENDER]
        evidence.copies = await read_all_mailboxes(platform.imap, accounts, PASSWORD)
        evidence.fsck = await asyncio.to_thread(fsck, self._environment)
        attempts = read_ledger(self._ledger_path)
        judge = Judge(self._plan.run, attempts, evidence, SENDER)
        deaths = evidence.deaths
        relays = sum(death.role in ("relay", "all") for death in deaths)
        budget = Budget(
            ghosts=_CONNECTIONS * (len(deaths) + nemesis.outages),
            # Two lanes, each with so many attempts (services/relay/lanes.py).
            extras=2 * RELAY_AT_ONCE * (relays + nemesis.outages),
        )
        checks = judge.verdict(budget)
        fired = {name for name in discover(ROOT) if self._failpoints.fired(name)}
        self._note_deaths(evidence)
        return Result(self._round.name, checks, fired, self._notes)

    def _note_deaths(self, evidence: Evidence) -> None:
        causes: dict[str, int] = {}
        for death in evidence.deaths:
            kind = death.cause if death.cause.startswith("by itself") else death.cause.split()[0]
            causes[f"{death.role} {kind}"] = causes.get(f"{death.role} {kind}", 0) + 1
        self._notes.append(f"deaths: {causes}; swept messages: {evidence.swept}")


def fsck(environment: Mapping[str, str]) -> list[str]:
    """What `holub fsck --json` complains of; empty: nothing."""
    holub = str(Path(sys.executable).parent / "holub")
    clean = {k: v for k, v in environment.items() if "FAILPOINTS" not in k and "SEEDED" not in k}
    done = subprocess.run(
        [holub, "fsck", "--json", "--content"],
        cwd=ROOT,
        env={**os.environ, **clean},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 0:
        return []
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return [f"exit {done.returncode}: {(done.stderr or done.stdout)[-500:]}"]
    return [
        f"{name}: {case}"[:300] for name, cases in found["violations"].items() for case in cases
    ]


def play(rounds: Sequence[Round], options: Options, folder: Path) -> list[Result]:
    """Play rounds on one set of servers, print each verdict."""
    results = []
    with servers(folder, s3=any(which.s3 for which in rounds)) as made:
        for which in rounds:
            place = folder / f"{which.name}-{options.bug or 'honest'}"
            place.mkdir()
            result = asyncio.run(Play(which, made, options, place).play())
            print(table(result.checks), flush=True)
            print("".join(f"  note: {note}\n" for note in result.notes), flush=True)
            results.append(result)
    return results


def coverage(results: Sequence[Result], *, s3: bool) -> Check:
    """X1: a process was killed at each failpoint."""
    fired = {name for result in results for name in result.fired}
    names = [
        name
        for name in discover(ROOT, s3=s3)
        if name.split(".")[0] in _MUST_CRASH and name not in _BY_CHANCE
    ]
    missing = [f"{name} never killed anything" for name in names if name not in fired]
    return Check("X1", "a crash at every failpoint", len(names), missing)


def run(options: Options, *, keep: bool = False, only: str = "") -> bool:
    """All rounds without a bug; True when no check is violated."""
    rounds = [
        item
        for item in ROUNDS
        if only == item.name or (not only and not (item.only_long and options.short))
    ]
    with _workshop(keep) as folder:
        results = play(rounds, options, folder)
    crashes = coverage(results, s3=any(item.s3 for item in rounds))
    if not only:
        print(table([crashes]))
    bad = sum(result.bad for result in results) + (0 if only else len(crashes.violations))
    print(f"seed {options.seed}: {'nothing lost' if not bad else f'{bad} violations'}", flush=True)
    return not bad


def run_bug(name: str, options: Options, *, keep: bool = False) -> bool:
    """The round of one seeded bug; True when it turned red."""
    rounds = [item for item in ROUNDS if item.name == BUGS[name]]
    with _workshop(keep) as folder:
        (result,) = play(rounds, options, folder)
    lost = [check.name for check in result.checks if check.violations]
    print(f"seeded bug {name}: {'RED in ' + ', '.join(lost) if lost else 'NOT FOUND'}", flush=True)
    return bool(lost)


@contextlib.contextmanager
def _workshop(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="holub-chaos-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
