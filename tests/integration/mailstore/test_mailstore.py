"""The contract of the mail store, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from libs.common.db.schema import account, recoverable
from libs.common.mailstore import AppendItem, Flag, MailStoreError
from libs.common.mailstore.recover import expire
from tests.integration.mailstore.room import CONTENT, Room


async def test_appended_messages_come_back_octet_for_octet(room: Room) -> None:
    items = [AppendItem(CONTENT % n, Flag.SEEN, "$Work", 1000.0 + n) for n in range(3)]

    uidvalidity, uids = await room.store.append(room.alice, "INBOX", items)

    box = await room.box()
    entries = await room.store.entries(box.id)
    stored = await room.store.stored(box.id, uids)
    assert uidvalidity == box.uidvalidity
    assert uids == [1, 2, 3]
    assert [(e.flags, e.keywords, e.internaldate) for e in entries] == [
        (Flag.SEEN, "$Work", 1000.0 + n) for n in range(3)
    ]
    assert [await room.store.read(s, 0, 1000) for s in stored] == [CONTENT % n for n in range(3)]
    assert (await room.store.read(stored[0], 3, 7)) == (CONTENT % 0)[3:7]
    await room.audit()


async def test_a_uid_is_never_given_twice(room: Room) -> None:
    box = await room.box()
    await room.append(2)
    await room.store.store(box.id, [1, 2], "add", Flag.DELETED, "")
    await room.store.expunge(box.id, [1, 2])

    assert await room.append() == [3]
    assert await room.store.vanished(box.id, 0) == [1, 2]
    await room.audit()


async def test_expunge_takes_only_what_is_deleted_and_named(room: Room) -> None:
    box = await room.box()
    await room.append(3)
    await room.store.store(box.id, [1, 2], "add", Flag.DELETED, "")

    assert await room.store.expunge(box.id, [2, 3]) == [2]
    assert [e.uid for e in await room.store.entries(box.id)] == [1, 3]
    await room.audit()


async def test_only_a_change_raises_the_modseq(room: Room) -> None:
    box = await room.box()
    await room.append(2)
    before = (await room.box()).highestmodseq

    await room.store.store(box.id, [1], "add", 0, "")
    await room.store.store(box.id, [7], "add", Flag.SEEN, "")
    same = (await room.box()).highestmodseq
    await room.store.store(box.id, [1], "add", Flag.SEEN, "$A")

    assert same == before
    assert (await room.box()).highestmodseq == before + 1
    assert [e.uid for e in await room.store.entries(box.id, before)] == [1]


async def test_unchangedsince_spares_what_has_changed(room: Room) -> None:
    box = await room.box()
    await room.append(2)
    since = (await room.box()).highestmodseq
    await room.store.store(box.id, [1], "add", Flag.FLAGGED, "")

    entries, failed = await room.store.store(box.id, [1, 2], "add", Flag.SEEN, "", since)

    assert failed == [1]
    assert [(e.uid, e.flags) for e in entries] == [(2, Flag.SEEN)]
    await room.audit()


async def test_different_flags_set_at_once_never_cancel_each_other(room: Room) -> None:
    box = await room.box()
    await room.append()
    words = [f"$k{n}" for n in range(10)]

    await asyncio.gather(*(room.store.store(box.id, [1], "add", 0, w) for w in words))

    (entry,) = await room.store.entries(box.id)
    assert entry.keywords.split() == sorted(words)


async def test_appends_at_once_give_ascending_uids_without_a_gap(room: Room) -> None:
    found = await asyncio.gather(*(room.append(2) for _ in range(10)))

    assert sorted(uid for uids in found for uid in uids) == list(range(1, 21))
    assert all(b == a + 1 for a, b in found)
    box = await room.box()
    entries = await room.store.entries(box.id)
    assert [e.uid for e in sorted(entries, key=lambda e: (e.modseq, e.uid))] == list(range(1, 21))
    await room.audit()


async def test_a_moved_message_is_in_exactly_one_mailbox(room: Room) -> None:
    box = await room.box()
    await room.append(3)

    moves = [room.store.move(room.alice, box.id, [1, 2, 3], to) for to in ("Archive", "Trash")]
    done = await asyncio.gather(*moves)

    assert sorted(len(pairs) for _, pairs in done) == [0, 3]
    assert await room.store.entries(box.id) == []
    await room.audit()


async def test_copies_are_all_or_none(room: Room) -> None:
    box = await room.box()
    await room.append(2)

    _, pairs = await room.store.copy(room.alice, box.id, [1, 2, 9], "Archive")

    assert pairs == [(1, 1), (2, 2)]
    with pytest.raises(MailStoreError, match="TRYCREATE"):
        await room.store.copy(room.alice, box.id, [1], "Nowhere")
    await room.audit()


async def test_moving_within_a_mailbox_gives_new_uids(room: Room) -> None:
    box = await room.box()
    await room.append(2)

    _, pairs = await room.store.move(room.alice, box.id, [1], "INBOX")

    assert pairs == [(1, 3)]
    assert [e.uid for e in await room.store.entries(box.id)] == [2, 3]
    await room.audit()


async def test_the_quota_is_exact_at_commit_also_for_many_at_once(room: Room) -> None:
    size = len(CONTENT % 0)
    async with room.database.transaction() as transaction:
        limited = update(account).where(account.c.id == room.alice)
        await transaction.execute(limited.values(quota_octets=size * 5, quota_messages=0))

    results = await asyncio.gather(*(room.append() for _ in range(8)), return_exceptions=True)

    assert sum(isinstance(r, list) for r in results) == 5
    refused = [r for r in results if not isinstance(r, list)]
    assert all(isinstance(r, MailStoreError) and r.code == "OVERQUOTA" for r in refused)
    await room.audit()


async def test_copying_counts_against_the_quota(room: Room) -> None:
    box = await room.box()
    await room.append(3)
    async with room.database.transaction() as transaction:
        limited = update(account).where(account.c.id == room.alice)
        await transaction.execute(limited.values(quota_messages=5))

    with pytest.raises(MailStoreError, match="OVERQUOTA"):
        await room.store.copy(room.alice, box.id, [1, 2, 3], "Archive")
    _, pairs = await room.store.move(room.alice, box.id, [1, 2, 3], "Archive")

    assert len(pairs) == 3
    await room.audit()


async def test_uidvalidity_is_new_for_a_mailbox_made_again(room: Room) -> None:
    first = await room.store.create(room.alice, "Work")
    await room.append(1, "Work")
    await room.store.delete(room.alice, "Work")
    second = await room.store.create(room.alice, "Work")

    assert second.uidvalidity > first.uidvalidity
    assert second.messages == 0
    await room.audit()


async def test_renaming_takes_the_mailboxes_below_along(room: Room) -> None:
    deep = await room.store.create(room.alice, "A/B/C")
    await room.append(1, "A/B/C")
    await room.store.rename(room.alice, "A/B", "X/Y")

    names = {box.name for box in await room.store.mailboxes(room.alice)}
    moved = await room.box("X/Y/C")
    assert {"A", "X", "X/Y", "X/Y/C"} <= names
    assert "A/B" not in names
    assert (moved.id, moved.uidvalidity, moved.messages) == (deep.id, deep.uidvalidity, 1)


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a\x00b", "a\r\nb", "x" * 501, "a/" * 21])
async def test_bad_mailbox_names_are_refused(room: Room, name: str) -> None:
    with pytest.raises(MailStoreError):
        await room.store.create(room.alice, name)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "%2e%2e/x", ".", "a\u202eb", "C:\\x", "*", "%"]
)
async def test_odd_mailbox_names_are_only_names(room: Room, name: str) -> None:
    made = await room.store.create(room.alice, name)

    assert (await room.box(name)).id == made.id
    assert await room.store.mailbox(room.bob, name) is None


async def test_inbox_is_any_case_and_cannot_go(room: Room) -> None:
    assert (await room.box("iNbOx")).name == "INBOX"
    with pytest.raises(MailStoreError, match="CANNOT"):
        await room.store.delete(room.alice, "inbox")


async def test_a_mailbox_of_another_account_cannot_be_written(room: Room) -> None:
    await room.append()
    box = await room.box()

    with pytest.raises(MailStoreError):
        await room.store.copy(room.bob, box.id, [1], "Archive")
    with pytest.raises(MailStoreError):
        await room.store.move(room.bob, box.id, [1], "Archive")

    assert [e.uid for e in await room.store.entries(box.id)] == [1]
    assert (await room.box("Archive", room.bob)).messages == 0
    await room.audit()


async def test_an_append_larger_than_memory_is_not_read_back(room: Room) -> None:
    content = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + b"y\r\n" * 300_000
    _, (uid,) = await room.store.append(room.alice, "INBOX", [AppendItem(content, 0, "", None)])

    (stored,) = await room.store.stored((await room.box()).id, [uid])

    assert stored.content_size == len(content)
    assert await room.store.read(stored, len(content) - 3, len(content)) == b"y\r\n"


async def test_expunged_messages_come_back_where_they_were(room: Room) -> None:
    await room.store.create(room.alice, "Work")
    await room.append(2, "Work", Flag.SEEN | Flag.DELETED)
    work = await room.box("Work")
    await room.store.expunge(work.id, [2])
    await room.store.delete(room.alice, "Work")

    found = await room.store.recoverable(room.alice)
    assert [(row.mailbox, row.uid, row.subject) for row in found] == [
        ("Work", 1, "0"),
        ("Work", 2, "1"),
    ]
    assert await room.store.restore(room.bob, [row.id for row in found]) == []
    assert await room.store.restore(room.alice, [row.id for row in found]) == [
        ("Work", 1),
        ("Work", 2),
    ]

    again = await room.box("Work")
    assert again.uidvalidity > work.uidvalidity
    assert [(e.uid, e.flags) for e in await room.store.entries(again.id)] == [
        (1, Flag.SEEN),
        (2, Flag.SEEN),
    ]
    assert await room.store.recoverable(room.alice) == []
    await room.audit()


async def test_what_was_moved_is_not_to_be_had_back(room: Room) -> None:
    await room.append(1)
    await room.store.move(room.alice, (await room.box()).id, [1], "Trash")

    assert await room.store.recoverable(room.alice) == []


async def test_there_must_be_room_for_what_comes_back(room: Room) -> None:
    await room.append(2)
    box = await room.box()
    assert await room.store.remove(room.alice, box.id, [1, 2]) == [1, 2]
    async with room.database.transaction() as transaction:
        limited = update(account).where(account.c.id == room.alice)
        await transaction.execute(limited.values(quota_messages=1))
    ids = [row.id for row in await room.store.recoverable(room.alice)]

    with pytest.raises(MailStoreError, match="OVERQUOTA"):
        await room.store.restore(room.alice, ids)

    assert len(await room.store.recoverable(room.alice)) == 2
    assert await room.store.restore(room.alice, ids[:1]) == [("INBOX", 3)]


async def test_what_has_expired_is_forgotten(room: Room) -> None:
    await room.append(1)
    box = await room.box()
    await room.store.remove(room.alice, box.id, [1])
    async with room.database.transaction() as transaction:
        assert await expire(transaction) == 0
        await transaction.execute(update(recoverable).values(expires_at=1.0))

    assert await room.store.recoverable(room.alice) == []
    async with room.database.transaction() as transaction:
        assert await expire(transaction) == 1


async def test_a_replaced_message_is_to_be_had_back(room: Room) -> None:
    await room.append(1)
    box = await room.box()
    item = AppendItem(CONTENT % 7, 0, "", None)

    assert (await room.store.replace(room.alice, "INBOX", item, box.id, 1))[1] == 2
    with pytest.raises(MailStoreError, match="EXPUNGEISSUED"):
        await room.store.replace(room.alice, "INBOX", item, box.id, 1)

    assert [row.uid for row in await room.store.recoverable(room.alice)] == [1]
    assert [e.uid for e in await room.store.entries(box.id)] == [2]
    await room.audit()
