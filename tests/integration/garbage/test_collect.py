"""What garbage collection keeps, and what it takes, case by case."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from sqlalchemy import func, select

from libs.common.db.schema import mailbox_message, message, watermark
from libs.common.garbage import Tally
from libs.common.jobs import Origin
from tests.integration.garbage.world import DAY, World


async def rows(world: World) -> int:
    async with world.database.reading() as transaction:
        return await transaction.scalar(select(func.count()).select_from(message)) or 0


async def test_expunged_mail_goes_after_window_wait_and_grace_and_not_before(world: World) -> None:
    await world.append(3)
    await world.expunge([1, 2, 3])

    assert not (await world.collect(8 * DAY)).tallies.keys() & {"marked", "deleted"}
    await world.expire()
    assert (await world.collect()).tallies.keys() == {"marked", "waiting"}
    assert await rows(world) == 0
    assert (await world.collect(DAY / 2)).tallies.keys() == {"waiting"}
    assert (await world.collect(DAY)).tallies.keys() == {"trashed"}
    assert (await world.collect(29 * DAY)).tallies.keys() == {"trash"}
    assert await world.octets() > 6000
    assert (await world.collect(2 * DAY)).tallies.keys() == {"deleted"}
    assert await world.octets() == 0
    assert await world.marks() == {}


async def test_nothing_young_is_touched(world: World) -> None:
    """An accept whose row comes any moment looks just like an orphan."""
    await world.accept(Origin.IMAP)

    done = await world.collect(6 * DAY)

    assert done.tallies == {}
    assert await world.octets() > 0


async def test_what_was_accepted_stays_until_every_recipient_is_at_its_end(world: World) -> None:
    mail = await world.accept(recipients=2)
    await world.filter(mail)
    await world.end(mail, "relayed", n=0)

    await world.collect_all()
    assert (await world.blobs.read(mail.ref)).content == mail.content
    assert await rows(world) == 1

    await world.end(mail, "relayed", n=1)
    await world.collect_all()
    assert await world.octets() == 0
    assert await rows(world) == 0


async def test_a_record_that_no_row_knows_is_the_sweepers_and_never_garbage(world: World) -> None:
    mail = await world.accept()

    await world.collect_all()

    assert (await world.blobs.read(mail.ref)).content == mail.content


@pytest.mark.parametrize("origin", [Origin.IMAP, Origin.DSN, Origin.CHILD])
async def test_a_record_whose_transaction_never_came_about_is_garbage(
    world: World, origin: Origin
) -> None:
    await world.accept(origin)

    await world.collect_all()

    assert await world.octets() == 0


async def test_what_a_queue_may_still_hold_is_left_alone(world: World) -> None:
    """The watermark of a queue with jobs has not passed it: there may be a job for it."""
    await world.accept(Origin.IMAP)
    await world.queue.put("delivery", [b"{}"])

    await world.collect_all()
    assert await world.octets() > 0

    async with world.database.transaction() as transaction:
        later = [{"queue": "delivery", "received_at": 4e9}]
        await transaction.insert(watermark, later)
    await world.collect_all()
    assert await world.octets() == 0


async def test_a_queue_that_comes_back_full_only_delays_what_is_in_the_trash(world: World) -> None:
    await world.accept(Origin.IMAP)
    await world.collect(8 * DAY)
    await world.collect(2 * DAY)
    assert list((await world.marks()).values()) != [None]

    await world.queue.put("filter", [b"{}"])
    done = await world.collect(40 * DAY)

    assert done.tallies.keys() == {"trash"}
    assert await world.octets() > 0


async def test_a_forward_keeps_the_content_of_its_parent(world: World) -> None:
    """It waits under a name of its own, and asks for its parent's place."""
    mail = await world.accept()
    await world.filter(mail)
    child = await world.forward(mail)

    await world.collect_all()
    assert (await world.blobs.read(mail.ref)).content == mail.content

    await world.relayed(child)
    await world.collect_all()
    assert await world.octets() == 0


async def test_a_forward_keeps_its_place_while_other_mail_of_the_segment_goes(world: World) -> None:
    mail = await world.accept()
    await world.filter(mail)
    await world.forward(mail)
    await world.append(20)
    await world.expunge(range(1, 21))
    await world.expire()

    done = await world.collect(8 * DAY)

    assert done.tallies.keys() == {"pinned"}
    assert (await world.blobs.read(mail.ref)).content == mail.content


async def test_parked_and_quarantined_mail_stays(world: World) -> None:
    held, put_aside = await world.accept(), await world.accept()
    for mail in (held, put_aside):
        await world.filter(mail)
    await world.hold(held)
    await world.end(put_aside, "relayed")
    await world.park(put_aside)

    await world.collect_all()
    for mail in (held, put_aside):
        assert (await world.blobs.read(mail.ref)).content == mail.content

    await world.drop_held(held.mail_id)
    await world.unpark(put_aside)
    await world.collect_all()
    assert await world.octets() == 0


async def test_a_segment_that_is_mostly_dead_is_compacted(world: World) -> None:
    mail = await world.accept()
    await world.filter(mail)
    await world.deliver(mail)
    await world.append(20)
    await world.expunge(range(2, 19))
    await world.expire()
    before, shown = await world.octets(), await world.shows()
    await world.reopen()

    done = await world.collect(8 * DAY)

    assert done.tallies["compacted"] == Tally(1, before)
    assert done.moved == 4
    assert await world.shows() == shown
    # Whoever noted the old place can still read there until the grace is over ...
    assert (await world.blobs.read(mail.ref)).content == mail.content
    await world.reopen()
    await world.collect_all()
    assert await world.octets() < before / 3
    assert await world.shows() == shown
    await world.all_readable()


async def test_a_reader_with_an_old_place_finds_the_new_one(world: World) -> None:
    await world.append(10)
    (last,) = await world.store.stored(await world.box(), [10])
    content = await world.store.read(last, 0, last.content_size)
    await world.expunge(range(1, 10))
    await world.expire()
    await world.reopen()
    await world.collect(8 * DAY)
    await world.reopen()
    await world.collect_all()

    assert await world.store.read(last, 0, last.content_size) == content


async def test_what_is_needed_again_loses_its_mark(world: World) -> None:
    """No way is known in which this happens; the looks at it are what must not depend on that."""
    mail = await world.accept(Origin.IMAP)
    await world.collect(8 * DAY)
    assert list(await world.marks()) == [mail.ref.segment]

    await world.filter(mail)
    async with world.database.transaction() as transaction:
        row = {"mailbox_id": await world.box(), "uid": 1, "mail_id": mail.mail_id, "modseq": 2}
        row |= {"internaldate": 1.0, "savedate": 1.0, "size": len(mail.content)}
        await transaction.insert(mailbox_message, [row])

    done = await world.collect(2 * DAY)

    assert done.tallies.keys() == {"spared"}
    assert await world.marks() == {}
    await world.all_readable()


async def test_damage_is_kept_for_a_person(world: World, tmp_path: Path) -> None:
    """The one readable record is garbage; of the other nobody can say."""
    mail = await world.accept(Origin.IMAP)
    await world.accept(Origin.IMAP)
    path = tmp_path / "blobs" / mail.ref.segment
    raw = bytearray(path.read_bytes())
    raw[mail.ref.length] ^= 0xFF
    path.write_bytes(raw)

    done = await world.collect(8 * DAY)

    assert done.tallies.keys() == {"damaged"}
    assert path.read_bytes() == bytes(raw)


async def test_a_dry_run_says_the_same_and_changes_nothing(world: World) -> None:
    await world.append(4)
    await world.expunge([1, 2, 3])
    await world.expire()
    await world.reopen()
    await world.append(1)
    await world.expunge([5])
    await world.expire()
    before = await rows(world), await world.octets()

    dry = await world.collect(8 * DAY, dry_run=True)
    assert (await rows(world), await world.octets()) == before
    assert await world.marks() == {}
    await world.reopen()
    wet = await world.collect()

    assert (dry.forgotten, dry.moved) == (wet.forgotten, wet.moved) == (4, 1)
    assert dry.tallies["marked"] == wet.tallies["marked"]
    assert dry.tallies["compacted"] == wet.tallies["compacted"]


async def test_collectors_at_once_do_no_harm(world: World) -> None:
    await world.append(30)
    await world.expunge(range(4, 31))
    await world.expire()
    shown = await world.shows()
    for days in (8, 2, 31):
        await world.reopen()
        world.ahead += days * DAY
        await asyncio.gather(*(world.collect() for _ in range(4)))
        assert await world.shows() == shown

    await world.collect_all()
    assert await world.octets() < 4 * 2600


async def test_mail_moves_about_while_garbage_is_collected(world: World) -> None:
    """COPY, MOVE, EXPUNGE and undelete beside a pass (X16)."""
    await world.append(40)
    store, inbox, trash = world.store, await world.box(), await world.box("Trash")
    await world.reopen()
    store = world.store

    async def bustle(first: int) -> None:
        uids = list(range(first, first + 10))
        await store.move(world.account, inbox, uids, "Trash")
        moved = [entry.uid for entry in await store.entries(trash)]
        await store.copy(world.account, trash, moved[:5], "INBOX")
        await store.remove(world.account, trash, moved[5:])
        back = [row.id for row in await store.recoverable(world.account)]
        await store.restore(world.account, back[::2])

    await asyncio.gather(
        *(bustle(first) for first in (1, 11, 21)), *(world.collect(8 * DAY) for _ in range(3))
    )

    await world.all_readable()
    for mailbox in ("INBOX", "Trash"):
        assert len(await world.shows(mailbox)) == len(await world.uids(mailbox))
    before = sorted(await world.shows())
    await world.reopen()
    await world.collect_all()
    assert sorted(await world.shows()) == before


async def test_on_s3_all_of_it_works_alike(world: World, s3_url: str) -> None:
    world.url = s3_url
    await world.reopen()
    await world.append(12)
    await world.expunge(range(1, 11))
    await world.expire()
    await world.blobs.put(b"not one of ours", os.urandom(400_000), key="x")
    shown, before = await world.shows(), await world.octets()

    done = await world.collect(8 * DAY)
    assert done.tallies["damaged"].octets > 400_000
    assert done.moved in (1, 2)  # together with dead ones, unless a put came to be alone
    await world.collect_all()

    assert await world.shows() == shown
    assert await world.octets() < before - 15_000
    await world.all_readable()
