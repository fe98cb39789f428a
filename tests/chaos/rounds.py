"""The rounds of a run: which settings, which faults, and which seeded bugs each must find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos.nemesis import Nemesis

Script = Callable[[Nemesis, bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Round:
    """One platform from its start to its verdict, on an empty database, vhost and store."""

    name: str
    what: str
    script: Script
    environment: Mapping[str, str] = field(default_factory=dict)
    embedded: bool = False
    """All roles in one process on SQLite and files."""
    s3: bool = False
    """Blobs are in S3; the other rounds keep them in files."""
    only_long: bool = False
    """Not a part of the short form."""
    power: bool = False
    """Ends with a loss of power under load."""


async def _queue(nemesis: Nemesis, short: bool) -> None:
    await nemesis.crash_at_each(5 if short else 10, together=short)
    # A busy machine does not pass all of them in that time; each of the rest gets its own.
    await nemesis.crash_at_each(15)
    await nemesis.late_verdicts(6)
    await nemesis.broker_outage(2)
    await nemesis.pauses(1 if short else 5, 4)
    await nemesis.random_kills(4 if short else 60)
    if not short:
        for _ in range(5):
            await nemesis.broker_outage(nemesis.rng.uniform(0, 10))
            nemesis.pending = sorted(nemesis.failpoints.hits())
            await nemesis.crash_at_each(10)


async def _sweeper(nemesis: Nemesis, short: bool) -> None:
    await nemesis.delete_queues(3)
    await nemesis.database_outage(2)
    await nemesis.total_outage(2)
    if short:
        # All others have their turn in the first round.
        nemesis.pending = [name for name in nemesis.pending if name.startswith("storage.")]
    await nemesis.crash_at_each(5 if short else 10)
    for _ in range(0 if short else 5):
        await nemesis.delete_queues(nemesis.rng.uniform(1, 6))
        await nemesis.random_kills(20)
        await nemesis.total_outage(nemesis.rng.uniform(0, 10))


async def _embedded(nemesis: Nemesis, short: bool) -> None:
    if short:
        # The roles' own failpoints have their turn in the other rounds.
        mine = [name for name in nemesis.pending if name.startswith(("queue.", "blobstore."))]
        others = [name for name in nemesis.pending if name not in mine]
        nemesis.pending = mine + nemesis.rng.sample(others, 2)
    await nemesis.crash_at_each(3 if short else 10)
    await nemesis.late_verdicts(4)
    await nemesis.random_kills(2 if short else 60)


async def _power(nemesis: Nemesis, short: bool) -> None:
    await nemesis.random_kills(1 if short else 10)


_SWEEP = {
    "HOLUB_STORAGE_SWEEP_EVERY_SECONDS": "2",
    "HOLUB_STORAGE_SWEEP_AFTER_SECONDS": "8",
    "HOLUB_STORAGE_SWEEP_AGAIN_SECONDS": "10",
}

ROUNDS = (
    Round(
        "queue",
        "no queue is deleted and there is no sweeper: the queues alone lose nothing",
        _queue,
        {"HOLUB_STORAGE_SWEEP": "false"},
    ),
    Round(
        "sweeper",
        "queues and backends go away: the segments bring all of it back",
        _sweeper,
        _SWEEP,
    ),
    Round("embedded", "one process on SQLite and files", _embedded, _SWEEP, embedded=True),
    Round("s3", "the blobs are in S3", _queue, _SWEEP, s3=True, only_long=True),
    Round("power", "the power goes off: what was not synced is gone", _power, _SWEEP, power=True),
)

BUGS = {
    "ack_before_commit": "queue",
    "verdict_race": "queue",
    "early_outcome": "sweeper",
    "sweeper_off": "sweeper",
    "skip_fsync": "power",
}
"""Each seeded bug of rule 15, and the round that must turn red on it."""
