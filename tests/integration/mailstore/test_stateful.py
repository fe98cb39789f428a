"""Any order of commands, also at once, keeps I3, I5, I7 and I17 (Hypothesis, both dialects)."""

from __future__ import annotations

import asyncio
import itertools
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
    precondition,
    rule,
    run_state_machine_as_test,
)

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.blobstore import open_blobstore
from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.mailstore import AppendItem, Flag, MailStore, MailStoreError
from libs.common.queue import open_queue
from tests.integration.mailstore.room import CONTENT, Room

NAMES = ("INBOX", "Archive", "Trash")
KEYWORDS = ("", "$a", "$b")
names = st.sampled_from(NAMES)
flags = st.sampled_from([0, Flag.SEEN, Flag.DELETED, Flag.SEEN | Flag.DELETED | Flag.FLAGGED])
uids = st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True)
modes = st.sampled_from(["add", "remove", "replace"])
Command = tuple[Any, ...]
commands = st.one_of(
    st.tuples(st.just("append"), names, st.integers(1, 3), flags),
    st.tuples(st.just("store"), names, uids, modes, flags, st.sampled_from(KEYWORDS)),
    st.tuples(st.just("expunge"), names, uids),
    st.tuples(st.just("copy"), names, uids, names),
    st.tuples(st.just("move"), names, uids, names),
)


class Watcher:
    """A client that only ever asks what is new, as CONDSTORE and QRESYNC let it."""

    def __init__(self) -> None:
        self.modseq = 0
        self.highest_uid = 0
        self.seen: dict[int, tuple[str, int, str, int]] = {}

    async def catch_up(self, room: Room, name: str) -> None:
        box = await room.box(name)
        news = await room.store.entries(box.id, self.modseq)
        gone = await room.store.vanished(box.id, self.modseq)
        for uid in gone:
            self.seen.pop(uid, None)
        for entry in news:
            if entry.uid not in self.seen:
                # What appears is above all that was ever seen (RFC 9051 §2.3.1.1).
                assert entry.uid > self.highest_uid
            self.seen[entry.uid] = (entry.mail_id, entry.flags, entry.keywords, entry.modseq)
        assert box.highestmodseq >= self.modseq
        if self.modseq:
            # The MODSEQ rises when, and only when, there is something to be told.
            assert bool(news or gone) == (box.highestmodseq > self.modseq)
        self.highest_uid = max([self.highest_uid, *(e.uid for e in news), *gone])
        self.modseq = box.highestmodseq
        whole = await room.store.entries(box.id)
        assert self.seen == {e.uid: (e.mail_id, e.flags, e.keywords, e.modseq) for e in whole}


class MailStoreMachine(RuleBasedStateMachine):
    """One account of its own for each run; the model is exact for commands one by one."""

    runner: asyncio.Runner
    room: Room
    serial = itertools.count()

    @initialize()
    def arrive(self) -> None:
        address = f"user{next(self.serial)}@example.test"
        made = create_accounts(self.room.database, [address], "")
        self.me = Room(self.room.database, self.room.store, self.run(made)[0], self.room.bob)
        self.watchers = {name: Watcher() for name in NAMES}
        self.model: dict[str, dict[int, tuple[str, int, str]]] = {name: {} for name in NAMES}
        self.next_uid = dict.fromkeys(NAMES, 1)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def do(self, command: Command) -> Any:
        store, account = self.room.store, self.me.alice
        box = (await self.me.box(command[1])).id
        match command:
            case "append", name, count, bits:
                items = [AppendItem(CONTENT % n, bits, "", None) for n in range(count)]
                return (await store.append(account, name, items))[1]
            case "store", _, chosen, mode, bits, keywords:
                return await store.store(box, chosen, mode, bits, keywords)
            case "expunge", _, chosen:
                return await store.expunge(box, chosen)
            case "copy", _, chosen, to:
                return (await store.copy(account, box, chosen, to))[1]
            case "move", _, chosen, to:
                return (await store.move(account, box, chosen, to))[1]
        raise AssertionError(command)

    @rule(command=commands)
    def one(self, command: Command) -> None:
        result = self.run(self.do(command))
        self.expect(command, result)
        assert self.run(self.rows()) == self.model

    def expect(self, command: Command, result: Any) -> None:
        box = self.model[command[1]]
        match command:
            case "append", name, count, bits:
                start = self.next_uid[name]
                assert result == list(range(start, start + count))
                for uid in result:
                    box[uid] = ("", int(bits), "")
                self.next_uid[name] += count
            case "store", _, chosen, mode, bits, keywords:
                for uid in set(chosen) & set(box):
                    box[uid] = _stored(box[uid], mode, bits, keywords)
            case "expunge", _, chosen:
                gone = sorted(u for u in set(chosen) & set(box) if box[u][1] & Flag.DELETED)
                assert result == gone
                for uid in gone:
                    del box[uid]
            case ("copy" | "move") as what, _, chosen, to:
                taken = sorted(set(chosen) & set(box))
                assert [old for old, _ in result] == taken
                for old, new in result:
                    assert new == self.next_uid[to]
                    self.next_uid[to] += 1
                    self.model[to][new] = box[old]
                    if what == "move":
                        del box[old]

    async def rows(self) -> dict[str, dict[int, tuple[str, int, str]]]:
        found = {}
        for name in NAMES:
            entries = await self.room.store.entries((await self.me.box(name)).id)
            found[name] = {e.uid: ("", e.flags, e.keywords) for e in entries}
        return found

    @rule(several=st.lists(commands, min_size=2, max_size=5))
    def at_once(self, several: list[Command]) -> None:
        before = self.run(self.rows())
        results = self.run(_gather([self.do(command) for command in several]))
        self.model = self.run(self.rows())
        for name in NAMES:
            new = [uid for uid in self.model[name] if uid not in before[name]]
            assert all(uid >= self.next_uid[name] for uid in new)
            self.next_uid[name] = self.run(self.me.box(name)).uidnext
        for command, result in zip(several, results, strict=True):
            if command[0] == "append":
                assert result == list(range(result[0], result[0] + command[2]))

    @precondition(lambda self: self.model["INBOX"])
    @rule()
    def bob_cannot(self) -> None:
        box = self.run(self.me.box()).id
        for work in (self.room.store.copy, self.room.store.move):
            with pytest.raises(MailStoreError):
                self.run(work(self.room.bob, box, list(self.model["INBOX"]), "INBOX"))

    @invariant()
    def watchers_miss_nothing(self) -> None:
        for name, watcher in self.watchers.items():
            self.run(watcher.catch_up(self.me, name))

    @invariant()
    def the_books_balance(self) -> None:
        self.run(self.me.audit([self.me.alice]))


def _stored(row: tuple[str, int, str], mode: str, bits: int, keywords: str) -> tuple[str, int, str]:
    if mode == "replace":
        return "", int(bits), keywords
    given, old = set(keywords.split()), set(row[2].split())
    if mode == "add":
        return "", row[1] | bits, " ".join(sorted(old | given))
    return "", row[1] & ~bits, " ".join(sorted(old - given))


async def _gather(work: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*work)


@pytest.fixture(params=["sqlite", "postgresql"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[type[RuleBasedStateMachine]]:
    """The machine over an open store, in a loop that lives as long as the test."""
    url = f"sqlite:///{tmp_path}/holub.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with asyncio.Runner() as runner:
        database = open_database(url)
        blobs = open_blobstore(f"file:{tmp_path}/blobs")
        queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
        if request.param == "sqlite":
            runner.run(migrate(database))
        runner.run(create_domain(database, "example.test"))
        (bob,) = runner.run(create_accounts(database, ["bob@example.test"], ""))
        store = MailStore(database, blobs, queue)

        class Bound(MailStoreMachine):
            pass

        Bound.runner = runner
        Bound.room = Room(database, store, 0, bob)
        yield Bound
        for part in (queue, blobs, database):
            runner.run(part.close())


@pytest.mark.timeout(300)
def test_any_order_of_commands_keeps_the_invariants(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
