"""What sorting one's mail teaches: rows of the outbox, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from libs.common.db.schema import outbox
from libs.common.jobs import LearnJob, decode
from libs.common.mailstore.learn import of_keywords, of_move
from tests.integration.mailstore.room import Room


async def lessons(room: Room) -> list[LearnJob]:
    """What was put since the last look."""
    async with room.database.transaction() as transaction:
        rows = await transaction.rows(select(outbox.c.queue, outbox.c.body).order_by(outbox.c.id))
        await transaction.execute(delete(outbox))
    assert {row.queue for row in rows} <= {"learn"}
    return [decode(row.body, LearnJob) for row in rows]


async def test_moves_and_copies_into_junk_and_out_of_it_are_lessons(room: Room) -> None:
    await room.append(2)
    inbox, junk = await room.box(), await room.box("Junk")
    ids = [entry.mail_id for entry in await room.store.entries(inbox.id)]

    await room.store.move(room.alice, inbox.id, [1], "Junk")
    assert await lessons(room) == [LearnJob(ids[0], room.alice, spam=True)]
    await room.store.copy(room.alice, inbox.id, [2], "Junk")
    assert await lessons(room) == [LearnJob(ids[1], room.alice, spam=True)]
    await room.store.move(room.alice, junk.id, [1], "INBOX")
    assert await lessons(room) == [LearnJob(ids[0], room.alice, spam=False)]
    await room.store.move(room.alice, junk.id, [2], "Trash")
    assert await lessons(room) == []


async def test_keywords_are_lessons_when_they_are_set(room: Room) -> None:
    await room.append(2)
    inbox = await room.box()
    ids = [entry.mail_id for entry in await room.store.entries(inbox.id)]

    await room.store.store(inbox.id, [1, 2], "add", 0, "$Junk")
    assert await lessons(room) == [LearnJob(one, room.alice, spam=True) for one in ids]
    await room.store.store(inbox.id, [1], "add", 0, "$Junk $Work")
    assert await lessons(room) == []
    await room.store.store(inbox.id, [1], "replace", 0, "$NotJunk")
    assert await lessons(room) == [LearnJob(ids[0], room.alice, spam=False)]
    await room.store.store(inbox.id, [2], "remove", 0, "$Junk")
    assert await lessons(room) == []


async def test_whoever_may_not_move_teaches_nothing(room: Room) -> None:
    await room.append()
    inbox = await room.box()

    with pytest.raises(Exception, match="gone"):
        await room.store.move(room.bob, inbox.id, [1], "Junk")

    assert await lessons(room) == []


def test_what_says_nothing() -> None:
    assert of_move("", "\\Archive") is None
    assert of_move("\\Junk", "\\Junk") is None
    assert of_keywords("", "$Junk $NotJunk") is None
    assert of_keywords("$junk", "$Junk") is None
    assert of_keywords("", "NonJunk") is False
