"""Deliver, expunge, copy, undelete and collect in any order: nothing needed is ever lost, and in
the end nothing else is left (Hypothesis, both dialects)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.blobstore import open_blobstore
from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.db.schema import metadata, tenant
from libs.common.jobs import Origin
from libs.common.queue import open_queue
from tests.integration.garbage.world import DAY, Mail, World

NAMES = ("INBOX", "Archive", "Trash")
names = st.sampled_from(NAMES)
some = st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True)


class GarbageMachine(RuleBasedStateMachine):
    """The model: what each mailbox shows, and each message that is under way."""

    runner: asyncio.Runner
    world: World
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.run(self._empty())
        self.boxes: dict[str, list[bytes]] = {name: [] for name in NAMES}
        self.gone: list[tuple[str, bytes]] = []
        self.under_way: list[Mail] = []
        self.held: list[Mail] = []
        self.forwards: list[tuple[str, Mail]] = []

    async def _empty(self) -> None:
        await self.world.blobs.close()
        shutil.rmtree(self.folder / "blobs", ignore_errors=True)
        async with self.world.database.transaction() as transaction:
            for table in reversed(metadata.sorted_tables):
                if table not in (tenant, metadata.tables["audit"]):
                    await transaction.execute(delete(table))
        await create_domain(self.world.database, "example.test")
        (account,) = await create_accounts(self.world.database, ["alice@example.test"], "")
        self.world.blobs = open_blobstore(self.world.url)
        self.world.account, self.world.ahead = account, 0.0
        self.world.contents.clear()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def take(self, items: list[Any], which: int) -> Any:
        return items.pop(which % len(items)) if items else None

    @rule()
    def accept(self) -> None:
        self.under_way.append(self.run(self.world.accept()))

    @rule(which=st.integers(0, 7), name=names)
    def deliver(self, which: int, name: str) -> None:
        if mail := self.take(self.under_way, which):
            self.run(self.world.filter(mail))
            self.run(self.world.deliver(mail, name))
            self.boxes[name].append(mail.content)

    @rule(which=st.integers(0, 7))
    def hold(self, which: int) -> None:
        if mail := self.take(self.under_way, which):
            self.run(self.world.filter(mail))
            self.run(self.world.hold(mail))
            self.held.append(mail)

    @rule(which=st.integers(0, 7))
    def forward(self, which: int) -> None:
        if mail := self.take(self.under_way, which):
            self.run(self.world.filter(mail))
            self.forwards.append((self.run(self.world.forward(mail)), mail))

    @rule(which=st.integers(0, 7))
    def end_one(self, which: int) -> None:
        if mail := self.take(self.held, which):
            self.run(self.world.drop_held(mail.mail_id))
        if pair := self.take(self.forwards, which):
            self.run(self.world.relayed(pair[0]))

    @rule(origin=st.sampled_from([Origin.IMAP, Origin.DSN]))
    def fail(self, origin: Origin) -> None:
        """A transaction after the put never came about."""
        self.run(self.world.accept(origin))

    @rule(name=names, count=st.integers(1, 4))
    def append(self, name: str, count: int) -> None:
        self.run(self.world.append(count, name))
        self.boxes[name] = self.run(self.world.shows(name))

    @rule(name=names, chosen=some)
    def expunge(self, name: str, chosen: list[int]) -> None:
        uids = self.run(self.world.uids(name))
        at = [n for n in chosen if n < len(uids)]
        self.run(self.world.expunge([uids[n] for n in at], name))
        self.gone += [(name, self.boxes[name][n]) for n in at]
        self.boxes[name] = [c for n, c in enumerate(self.boxes[name]) if n not in at]

    @rule(name=names, to=names, chosen=some, move=st.booleans())
    def copy(self, name: str, to: str, chosen: list[int], move: bool) -> None:
        uids = self.run(self.world.uids(name))
        at = sorted(n for n in chosen if n < len(uids))
        work = self.world.store.move if move else self.world.store.copy
        self.run(
            work(self.world.account, self.run(self.world.box(name)), [uids[n] for n in at], to)
        )
        moved = [self.boxes[name][n] for n in at]
        if move:
            self.boxes[name] = [c for n, c in enumerate(self.boxes[name]) if n not in at]
        self.boxes[to] = self.boxes[to] + moved

    @rule()
    def undelete(self) -> None:
        rows = self.run(self.world.store.recoverable(self.world.account))
        self.run(self.world.store.restore(self.world.account, [row.id for row in rows]))
        for name in NAMES:
            back = sorted(content for box, content in self.gone if box == name)
            before = len(self.boxes[name])
            shown = self.run(self.world.shows(name))
            assert sorted(shown[before:]) == back
            self.boxes[name] = shown
        self.gone = []

    @rule()
    def expire(self) -> None:
        self.run(self.world.expire())
        self.gone = []

    @rule(days=st.sampled_from([0, 2, 8, 31]), dry_run=st.booleans())
    def collect(self, days: int, dry_run: bool) -> None:
        self.run(self.world.reopen())
        self.run(self.world.collect(days * DAY, dry_run=dry_run))

    @rule(days=st.sampled_from([2, 8, 31]), steps=st.integers(0, 60))
    def collect_and_crash(self, days: int, steps: int) -> None:
        async def crash() -> None:
            task = asyncio.create_task(self.world.collect(days * DAY))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run(self.world.reopen())
        self.run(crash())

    @invariant()
    def nothing_is_lost(self) -> None:
        for name in NAMES:
            assert self.run(self.world.shows(name)) == self.boxes[name]
        for mail in (*self.under_way, *(mail for _, mail in self.forwards)):
            assert self.run(self.world.blobs.read(mail.ref)).content == mail.content
        # Whatever has a row: that is what was expunged and can be had back, and the quarantine.
        self.run(self.world.all_readable())

    def teardown(self) -> None:
        while self.under_way:
            self.deliver(0, "INBOX")
        while self.held or self.forwards:
            self.end_one(0)
        for name in NAMES:
            self.expunge(name, list(range(len(self.boxes[name]))))
        self.expire()
        self.run(self.world.collect_all())
        assert self.run(self.world.octets()) == 0
        assert self.run(self.world.marks()) == {}


@pytest.fixture(params=["sqlite", "postgresql"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[type[RuleBasedStateMachine]]:
    """The machine over open stores, in a loop that lives as long as the test."""
    url = f"sqlite:///{tmp_path}/holub.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with asyncio.Runner() as runner:
        database = open_database(url)
        queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
        if request.param == "sqlite":
            runner.run(migrate(database))
        blobs = f"file:{tmp_path}/blobs"

        class Bound(GarbageMachine):
            pass

        Bound.runner = runner
        Bound.folder = tmp_path
        Bound.world = World(database, blobs, open_blobstore(blobs), queue, 0)
        yield Bound
        for part in (queue, Bound.world.blobs, database):
            runner.run(part.close())


@pytest.mark.timeout(300)
def test_nothing_needed_is_ever_lost_and_nothing_else_is_left(
    machine: type[RuleBasedStateMachine],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
