"""The index of SEARCH finds just what a scan finds, on both dialects."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random

from sqlalchemy import func, select, text, update

from libs.common.db.schema import mailbox_message, message, search_document
from libs.common.mailstore import AppendItem
from libs.common.mailstore.indexing import behind, index_some
from libs.common.mailstore.search_index import Sought
from libs.protocols.message.searchable import MAX_DOCUMENT, contains, seekable
from tests.integration.mailstore.room import Room

WORDS = [
    "needle",
    "Straße",
    "100%",
    "under_score",
    "back\\slash",
    'quo"te',
    "O'Neill",
    "ab",
    "ü",
    "*",
]
PREFIX = (
    "Return-Path: <ann@other.test>\r\nReceived: from mx.Needle.test ([192.0.2.1])\r\n"
    "\tby us.test with ESMTP\r\n"
)


def content(chosen: random.Random) -> bytes:
    words = [chosen.choice(WORDS) for _ in range(chosen.randint(0, 12))]
    subject = base64.b64encode(" ".join(words[:2]).encode()).decode()
    body = " ".join(words[2:]).encode()
    if chosen.random() < 0.3:
        body, encoding = base64.encodebytes(body), "base64"
    else:
        encoding = "8bit"
    head = f"From: ann@other.test\r\nSubject: =?utf-8?b?{subject}?=\r\n"
    head += f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    if chosen.random() < 0.1:
        head = "no field at first\r\n" + head
    return head.encode() + b"\r\n" + body + b"\r\n"


async def indexed(room: Room, mailbox_id: int) -> int:
    steps = 0
    while await index_some(room.database, room.store._blobs, mailbox_id):
        steps += 1
    return steps


async def scanned(room: Room, mailbox_id: int, sought: str, body_only: bool) -> set[str]:
    found = set()
    for one in await room.store.stored(mailbox_id, None):
        shown = await room.store.read(one, 0, len(one.prefix) + one.content_size)
        if contains(shown, sought, body_only=body_only):
            found.add(one.mail_id)
    return found


async def test_index_and_scan_agree_on_every_text(room: Room) -> None:
    chosen = random.Random(7)
    box = (await room.box()).id
    for _ in range(3):
        items = [AppendItem(content(chosen), 0, "", None) for _ in range(40)]
        await room.store.append(room.alice, "INBOX", items)
    async with room.database.transaction() as transaction:
        some = mailbox_message.c.uid % 3 == 0
        await transaction.execute(update(mailbox_message).where(some).values(prefix=PREFIX))
    assert await indexed(room, box) == 3

    texts = [*WORDS, *(f"{a} {b}" for a, b in itertools.pairwise(WORDS)), "eed", "absent", "%", "_"]
    texts += ["mx.needle", "by us.test", "ann@other", "[192.0.2.1] by", "no field", "e" * 60]
    for wanted, body_only in itertools.product(texts, (False, True)):
        folded = seekable(wanted)
        assert folded is not None
        answers = await room.store.search(box, [Sought(folded, body_only)])
        assert answers.upto == 120
        expected = await scanned(room, box, wanted, body_only)
        assert answers.found[0] - answers.opaque == expected - answers.opaque, wanted
        assert len(answers.opaque) < 30


async def test_what_is_new_is_not_known_until_it_is_indexed(room: Room) -> None:
    box = (await room.box()).id
    sought = [Sought("body", True)]
    assert (await room.store.search(box, sought)).upto == 0
    await room.append(3)
    async with room.database.reading() as transaction:
        assert box in await behind(transaction)
        assert await behind(transaction, [box + 1000]) == []

    await indexed(room, box)
    await room.append(2)

    answers = await room.store.search(box, sought)
    assert (answers.upto, len(answers.found[0])) == (3, 3)
    assert await indexed(room, box) == 1
    async with room.database.reading() as transaction:
        assert await behind(transaction, [box]) == []
    assert (await room.store.search(box, sought)).upto == 5


async def test_a_copy_needs_no_second_document_and_nobody_finds_the_mail_of_others(
    room: Room,
) -> None:
    box, archive = (await room.box()).id, (await room.box("Archive")).id
    await room.append(4)
    await room.store.copy(room.alice, box, [1, 2], "Archive")
    await room.store.append(
        room.bob, "INBOX", [AppendItem(b"A: b\r\n\r\nbody of bob", 0, "", None)]
    )
    theirs = (await room.box(account_id=room.bob)).id
    for one in (box, archive, theirs):
        await indexed(room, one)

    async with room.database.reading() as transaction:
        count = await transaction.scalar(select(func.count()).select_from(search_document))
    assert count == 5
    found = [
        (await room.store.search(one, [Sought("body", True)])).found[0] for one in (box, theirs)
    ]
    assert not found[0] & found[1]
    assert (await room.store.search(archive, [Sought("body", True)])).upto == 2


async def test_expunged_tails_are_not_looked_at_for_ever(room: Room) -> None:
    box = (await room.box()).id
    await room.append(3)
    await room.store.remove(room.alice, box, [2, 3])

    assert await indexed(room, box) == 1
    assert not await index_some(room.database, room.store._blobs, box)


async def test_too_much_text_is_left_to_a_scan(room: Room) -> None:
    box = (await room.box()).id
    large = b"Subject: x\r\n\r\n" + b"needle " * (MAX_DOCUMENT // 7 + 1)
    await room.store.append(room.alice, "INBOX", [AppendItem(large, 0, "", None)])
    await indexed(room, box)

    answers = await room.store.search(box, [Sought("needle", True)])

    assert (answers.upto, len(answers.opaque), answers.found) == (1, 1, (frozenset(),))


async def test_a_forged_field_is_found_as_it_is_shown(room: Room) -> None:
    box = (await room.box()).id
    forged = b"Subject: x\r\nAuthentication-Results: us.test; dkim=pass\r\n\r\nbody\r\n"
    await room.store.append(room.alice, "INBOX", [AppendItem(forged, 0, "", None)])
    async with room.database.transaction() as transaction:
        await transaction.execute(update(message).values(disguised=str(forged.index(b"Auth"))))
    await indexed(room, box)

    for wanted in ("authentication-results:", "x-removed-auth-results:", "dkim=pass"):
        answers = await room.store.search(box, [Sought(wanted, False)])
        assert answers.found[0] == await scanned(room, box, wanted, False), wanted


async def test_writers_at_once_make_one_document_each(room: Room) -> None:
    box = (await room.box()).id
    await room.append(30)

    await asyncio.gather(*(index_some(room.database, room.store._blobs, box) for _ in range(4)))

    async with room.database.reading() as transaction:
        count = await transaction.scalar(select(func.count()).select_from(search_document))
    assert count == 30


async def test_documents_go_with_their_messages(room: Room) -> None:
    box = (await room.box()).id
    await room.append(3)
    await indexed(room, box)
    async with room.database.transaction() as transaction:
        await transaction.execute(text("DELETE FROM mailbox_message"))
        await transaction.execute(text("DELETE FROM message"))

    assert (await room.store.search(box, [Sought("body", True)])).found == (frozenset(),)
    await room.append(1)
    await indexed(room, box)
    assert len((await room.store.search(box, [Sought("body", True)])).found[0]) == 1


async def test_the_trigram_index_is_there_and_used(room: Room) -> None:
    """Without it all is right as well, and slow; on these servers it must be there."""
    async with room.database.reading() as transaction:
        if room.database.dialect == "sqlite":
            query = "SELECT count(*) FROM search_fts WHERE search_fts MATCH '\"abc\"'"
            assert await transaction.scalar(text(query)) == 0
            return
        await transaction.execute(text("SET LOCAL enable_seqscan = off"))
        query = "EXPLAIN SELECT mail_id FROM search_document WHERE body LIKE '%abcd%'"
        plan = "\n".join(row[0] for row in await transaction.rows(text(query)))
        assert "ix_search_document_trigrams" in plan
