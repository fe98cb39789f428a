"""Mail goes to files and comes back as it was, whatever happens between."""

from __future__ import annotations

import mailbox
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from libs.common.db.schema import account
from libs.common.transfer import TransferError, bring, export
from libs.common.transfer.exporter import Target
from libs.common.transfer.files import file_below
from libs.common.transfer.letter import Source
from libs.common.transfer.maildir_source import MaildirSource
from libs.common.transfer.maildir_target import MaildirTarget
from libs.common.transfer.mbox_source import MboxSource
from libs.common.transfer.mbox_target import MboxTarget
from libs.protocols.mailfile.mbox import Quoting
from tests.integration.mailstore.room import Room
from tests.integration.transfer.mail import CONTENTS, append, fill, held, run

Form = tuple[Callable[[Path], Target], Callable[[Path], Source]]
FORMS: dict[str, Form] = {
    "maildir": (MaildirTarget, MaildirSource),
    "mboxrd": (
        lambda path: MboxTarget(path, Quoting.RD),
        lambda path: MboxSource.of_path(path, Quoting.RD),
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_what_goes_out_comes_back_octet_for_octet(
    room: Room, tmp_path: Path, form: str
) -> None:
    """With flags, keywords, dates, UIDs and UIDVALIDITY; and no name leads out of the folder."""
    target, source = FORMS[form]
    await fill(room)
    before = await held(room, room.alice)

    out = await run(export(room.store, room.alice, target(tmp_path / "out" / "there")))
    back = await run(bring(room.store, room.bob, source(tmp_path / "out" / "there")))

    assert await held(room, room.bob) == before
    assert before["INBOX"][0] == 1_600_000_000
    assert out.messages == back.messages == sum(len(m) for _, m in before.values())
    assert not back.problems
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["there"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_run_that_was_broken_off_goes_on_and_a_second_does_nothing(
    room: Room, tmp_path: Path, form: str
) -> None:
    target, source = FORMS[form]
    await room.store.adopt(room.alice, "INBOX", 1_600_000_000)
    await append(room.store, room.alice, [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(450)])
    before = await held(room, room.alice)

    await run(export(room.store, room.alice, target(tmp_path / "out")), stop_after=1)
    for path in (tmp_path / "out").rglob("*.mbox"):
        with path.open("ab") as torn:
            torn.write(b"From a torn message\n\nha")
    rest = await run(export(room.store, room.alice, target(tmp_path / "out")))
    again = await run(export(room.store, room.alice, target(tmp_path / "out")))

    assert (rest.known, rest.messages) == (200, 250)
    assert (again.known, again.messages) == (450, 0)

    await run(bring(room.store, room.bob, source(tmp_path / "out")), stop_after=1)
    rest = await run(bring(room.store, room.bob, source(tmp_path / "out")))
    # What was brought in and then removed is not brought in once more.
    box = await room.box("INBOX", room.bob)
    await room.store.remove(room.bob, box.id, [1, 2])
    again = await run(bring(room.store, room.bob, source(tmp_path / "out")))

    assert (rest.known, rest.messages) == (200, 250)
    assert (again.known, again.messages) == (450, 0)
    (uidvalidity, messages) = before["INBOX"]
    assert await held(room, room.bob) == {"INBOX": (uidvalidity, messages[2:])}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("form", FORMS)
async def test_a_full_account_takes_what_it_has_room_for_and_then_goes_on(
    room: Room, tmp_path: Path, form: str
) -> None:
    target, source = FORMS[form]
    await append(room.store, room.alice, [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(30)])
    await run(export(room.store, room.alice, target(tmp_path / "out")))
    await _set_quota(room, 21)

    with pytest.raises(TransferError, match=r"INBOX: .* no room .* 21 messages .* run this again"):
        await run(bring(room.store, room.bob, source(tmp_path / "out")))
    await _set_quota(room, 100)
    rest = await run(bring(room.store, room.bob, source(tmp_path / "out")))

    assert (rest.known, rest.messages) == (21, 9)
    assert (await held(room, room.bob))["INBOX"][1] == (await held(room, room.alice))["INBOX"][1]
    async with room.database.reading() as transaction:
        query = account.select().where(account.c.id == room.bob)
        assert (await transaction.one_or_none(query)).used_messages == 30


async def _set_quota(room: Room, messages: int) -> None:
    async with room.database.transaction() as transaction:
        statement = update(account).where(account.c.id == room.bob)
        await transaction.execute(statement.values(quota_messages=messages))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_used_mailbox_keeps_its_uids(room: Room, tmp_path: Path) -> None:
    await fill(room)
    await run(export(room.store, room.alice, MaildirTarget(tmp_path / "out")))
    await append(room.store, room.bob, [b"Subject: mine\r\n\r\n"])
    before = await room.box("INBOX", room.bob)

    await run(bring(room.store, room.bob, MaildirSource(tmp_path / "out"), ["INBOX"]))

    uidvalidity, messages = (await held(room, room.bob))["INBOX"]
    assert uidvalidity == before.uidvalidity
    assert [uid for uid, *_ in messages] == list(range(1, len(CONTENTS) + 2))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_standard_librarys_maildir_is_read_and_reads_ours(
    room: Room, tmp_path: Path
) -> None:
    theirs = mailbox.Maildir(tmp_path / "theirs")
    sent = theirs.add_folder("Sent.2026")
    for flags, box in (("", theirs), ("RS", theirs), ("F", sent)):
        message = mailbox.MaildirMessage(b"Subject: of them\n\nbody\n")
        message.set_flags(flags)
        message.set_subdir("cur" if flags else "new")
        message.set_date(1767607200)
        box.add(message)

    await run(bring(room.store, room.bob, MaildirSource(tmp_path / "theirs")))
    await run(export(room.store, room.bob, MaildirTarget(tmp_path / "ours")))

    found = await held(room, room.bob)
    octets = b"Subject: of them\r\n\r\nbody\r\n"
    assert sorted(m[1:] for m in found["INBOX"][1]) == [
        (0, "", 1767607200, octets),
        (3, "", 1767607200, octets),
    ]
    assert [m[1:] for m in found["Sent/2026"][1]] == [(4, "", 1767607200, octets)]
    ours = mailbox.Maildir(tmp_path / "ours", create=False)
    assert {"Sent.2026", "Drafts"} <= set(ours.list_folders())
    assert sorted(m.get_flags() for m in ours) == ["", "RS"]
    assert {m.get_date() for m in ours} == {1767607200.0}
    assert [m.get_payload() for m in ours.get_folder("Sent.2026")] == ["body\n"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_dovecots_lists_give_uids_and_keywords(room: Room, tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / "mail" / part).mkdir(parents=True)
    for name in ("2.b:2,Sb", "1.a:2,", "3.c"):
        path = tmp_path / "mail" / ("cur" if ":" in name else "new") / name
        path.write_bytes(b"Subject: x\n\n")
    (tmp_path / "mail/dovecot-uidlist").write_text("3 V1700000123 N31 G12ab\n7 :2.b\n30 :1.a:2,S\n")
    (tmp_path / "mail/dovecot-keywords").write_text("0 $Label1\n1 work\nx\n")

    await run(bring(room.store, room.bob, MaildirSource(tmp_path / "mail")))

    uidvalidity, messages = (await held(room, room.bob))["INBOX"]
    assert uidvalidity == 1700000123
    assert [(uid, flags, words) for uid, flags, words, *_ in messages] == [
        (7, 1, "work"),
        (30, 0, ""),
        (31, 0, ""),
    ]


async def test_a_uidvalidity_is_adopted_once(room: Room) -> None:
    """UIDs of a mailbox that was deleted must not come back for other messages."""
    await room.store.create(room.bob, "Old")
    first = await room.store.adopt(room.bob, "Old", 77)
    await room.store.delete(room.bob, "Old")
    own = await room.store.create(room.bob, "Old")

    again = await room.store.adopt(room.bob, "Old", 77)
    given = await room.store.adopt(room.bob, "Old", first.uidnext + (await room.box()).uidvalidity)

    assert first.uidvalidity == 77
    assert again.uidvalidity == given.uidvalidity == own.uidvalidity


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_keywords_that_would_break_imap_stay_outside(room: Room, tmp_path: Path) -> None:
    words = b'good a)b {5} \\Recent \\Seen "q" caf\xc3\xa9 ' + b"x" * 200
    (tmp_path / "box").write_bytes(b"From a\nX-Keywords: " + words + b"\nX-UID: 1\n\nx\n\n")

    await run(bring(room.store, room.bob, MboxSource.of_path(tmp_path / "box", Quoting.RD)))

    assert [m[1:3] for m in (await held(room, room.bob))["box"][1]] == [(1, "good")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_links_in_a_maildir_lead_nowhere(room: Room, tmp_path: Path) -> None:
    """Its owner could otherwise have the operator read any file for him."""
    (tmp_path / "secret").write_bytes(b"Subject: of somebody else\n\n")
    for part in ("cur", "new", "tmp"):
        (tmp_path / "mail" / part).mkdir(parents=True)
    for part in ("cur", "new", "tmp"):
        (tmp_path / "victim" / part).mkdir(parents=True)
        (tmp_path / "victim" / part / "1.hers").write_bytes(b"Subject: of somebody else\n\n")
    # A file, each part of a folder, a folder with all its parts, and one of the lists.
    os.symlink(tmp_path / "secret", tmp_path / "mail/cur/1.link:2,")
    (tmp_path / "mail/new").rmdir()
    os.symlink(tmp_path / "victim/cur", tmp_path / "mail/new")
    (tmp_path / "mail/.Own/new").mkdir(parents=True)
    os.symlink(tmp_path / "victim/cur", tmp_path / "mail/.Own/cur")
    os.symlink(tmp_path / "victim", tmp_path / "mail/.Hers")
    os.symlink(tmp_path / "secret", tmp_path / "mail/dovecot-uidlist")
    os.mkfifo(tmp_path / "mail/cur/2.fifo:2,")

    done = await run(bring(room.store, room.bob, MaildirSource(tmp_path / "mail")))

    assert done.messages == 0
    assert await held(room, room.bob) == {}
    assert {p.partition(": ")[0].removeprefix(f"{tmp_path}/mail/") for p in done.problems} == {
        "cur/1.link:2,",
        "cur/2.fifo:2,",
        "new",
    }


@pytest.mark.parametrize("link", ["mail/sub", "mail/sub/cur", "mail/sub/cur/1.a"])
def test_a_link_that_is_put_there_meanwhile_leads_nowhere(tmp_path: Path, link: str) -> None:
    """What is found first and opened later may be something else by then."""
    (tmp_path / "mail/sub/cur").mkdir(parents=True)
    wanted = tmp_path / "mail/sub/cur/1.a"
    wanted.write_bytes(b"his own")
    with file_below(tmp_path / "mail", wanted) as file:
        assert file.read() == b"his own"
    (tmp_path / link).rename(tmp_path / "victim")
    os.symlink(tmp_path / "victim", tmp_path / link)

    with pytest.raises(OSError, match=r"is a link|Not a directory"):
        file_below(tmp_path / "mail", wanted)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_of_a_folder_of_mboxes_what_is_no_file_is_passed_over(
    room: Room, tmp_path: Path
) -> None:
    """And said; a FIFO would have the run wait for ever."""
    (tmp_path / "secret").write_bytes(b"From a\nSubject: of somebody else\n\n")
    (tmp_path / "mail/d.mbox").mkdir(parents=True)
    (tmp_path / "mail/good.mbox").write_bytes(b"From a\nSubject: x\n\n")
    os.symlink(tmp_path / "secret", tmp_path / "mail/a.mbox")
    os.mkfifo(tmp_path / "mail/f.mbox")

    done = await run(bring(room.store, room.bob, MboxSource.of_path(tmp_path / "mail", Quoting.RD)))

    assert list(await held(room, room.bob)) == ["good"]
    assert done.problems == [
        f"{tmp_path}/mail/a.mbox: is a link, which is not followed; passed over",
        f"{tmp_path}/mail/d.mbox: is no regular file; passed over",
        f"{tmp_path}/mail/f.mbox: is no regular file; passed over",
    ]
    assert {box.name for box in await room.store.mailboxes(room.bob)}.isdisjoint({"a", "d", "f"})
    for name in ("a.mbox", "f.mbox"):
        with pytest.raises(TransferError, match=name):
            MboxSource.of_path(tmp_path / "mail" / name, Quoting.RD)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_is_no_mailbox_is_refused(room: Room, tmp_path: Path) -> None:
    (tmp_path / "letter.eml").write_bytes(b"Subject: x\r\n\r\n")
    (tmp_path / "empty").mkdir()
    mbox = MboxSource.of_path(tmp_path / "letter.eml", Quoting.RD)

    with pytest.raises(TransferError, match=r"does not begin with a `From ` line"):
        await run(bring(room.store, room.bob, mbox))
    with pytest.raises(TransferError, match="no Maildir"):
        await run(bring(room.store, room.bob, MaildirSource(tmp_path / "empty")))
    with pytest.raises(TransferError, match="no files"):
        MboxSource.of_path(tmp_path / "empty", Quoting.RD)
    with pytest.raises(TransferError, match="no mailbox 'Nope'"):
        await run(export(room.store, room.alice, MaildirTarget(tmp_path / "out"), ["Nope"]))
    assert await held(room, room.bob) == {}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("form", FORMS)
async def test_an_export_goes_over_nothing_that_is_there(
    room: Room, tmp_path: Path, form: str
) -> None:
    target, _ = FORMS[form]
    await fill(room)
    await run(export(room.store, room.alice, target(tmp_path / "out"), ["INBOX"]))

    await append(room.store, room.bob, [b"\r\n"])

    with pytest.raises(TransferError, match="another mailbox than INBOX"):
        await run(export(room.store, room.bob, target(tmp_path / "out"), ["INBOX"]))
