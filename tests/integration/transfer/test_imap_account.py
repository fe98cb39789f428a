"""Mail comes from Dovecot and goes there, as it is."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imapclient import IMAPClient
from sqlalchemy import update

from libs.common.db.schema import account
from libs.common.mailstore import AppendItem
from libs.common.transfer import TransferError, bring, export
from libs.common.transfer.imap_account import Account, Address
from libs.common.transfer.imap_source import ImapSource
from libs.common.transfer.imap_target import ImapTarget
from libs.common.transfer.maildir_source import MaildirSource
from tests.integration.imap.running import command
from tests.integration.mailstore.room import Room
from tests.integration.transfer.mail import CONTENTS, HEAD, append, held, run
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.servers.needed import needed

_TUID = re.compile(rb"^X-TUID: \S+\r\n", re.MULTILINE)
DATE = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
async def remote(dovecot: Dovecot) -> AsyncIterator[Callable[[], Account]]:
    """New sessions with a new account of Dovecot."""
    address = Address(f"u{uuid.uuid4().hex[:12]}", "127.0.0.1", dovecot.port, tls=False)
    made: list[Account] = []

    def make() -> Account:
        made.append(Account(address, PASSWORD))
        return made[-1]

    yield make
    for session in made:
        await session.close()


async def test_an_account_comes_in_with_flags_dates_uids_and_folders(
    room: Room, remote: Callable[[], Account]
) -> None:
    def prepare(client: IMAPClient) -> dict[str, int]:
        client.create_folder("INBOX.Entwürfe.2026")
        client.create_folder("INBOX.Gone")
        client.append("INBOX", b"Subject: gone\r\n\r\n")
        client.select_folder("INBOX")
        client.delete_messages([1])
        client.expunge()
        for number in (0, 5):
            client.append("INBOX", CONTENTS[number], [rb"\Seen", b"$Label1"], DATE)
        for number in range(120):
            client.append("INBOX.Entwürfe.2026", HEAD % number, [rb"\Draft"], DATE)
        return {
            name: client.folder_status(name, ["UIDVALIDITY"])[b"UIDVALIDITY"]
            for name in ("INBOX", "INBOX.Entwürfe.2026")
        }

    uidvalidity = await remote().do(prepare)
    async with room.database.transaction() as transaction:
        # As in a real move, where theirs are of another time than ours.
        later = update(account).where(account.c.id == room.bob)
        await transaction.execute(later.values(created_at=2_000_000_000))

    done = await run(bring(room.store, room.bob, ImapSource(remote())))
    again = await run(bring(room.store, room.bob, ImapSource(remote())))

    found = await held(room, room.bob)
    at = int(DATE.timestamp())
    assert found["INBOX"] == (
        uidvalidity["INBOX"],
        [(2, 1, "$Label1", at, CONTENTS[0]), (3, 1, "$Label1", at, CONTENTS[5])],
    )
    assert found["Entwürfe/2026"] == (
        uidvalidity["INBOX.Entwürfe.2026"],
        [(n + 1, 16, "", at, HEAD % n) for n in range(120)],
    )
    assert "Gone" in {box.name for box in await room.store.mailboxes(room.bob)}
    assert (done.messages, done.problems) == (122, [])
    assert (again.messages, again.known) == (0, 122)


async def test_an_account_goes_out_and_nothing_twice(
    room: Room, remote: Callable[[], Account]
) -> None:
    """What Dovecot's Maildir cannot keep (a bare LF, a single CR) it changes by itself."""
    await append(room.store, room.alice, [HEAD % n + b"x\r\n" for n in range(300)])
    await append(room.store, room.alice, [b"Subject: no id\r\n\r\n%d\r\n" % n for n in range(3)])
    box = await room.store.create(room.alice, "A/B.c")
    await room.store.append(room.alice, box.name, [])

    await run(export(room.store, room.alice, ImapTarget(remote())), stop_after=1)
    rest = await run(export(room.store, room.alice, ImapTarget(remote())))
    again = await run(export(room.store, room.alice, ImapTarget(remote())))
    await run(bring(room.store, room.bob, ImapSource(remote())))

    assert (rest.messages, rest.known) == (103, 200)
    assert (again.messages, again.known) == (0, 303)
    ours, theirs = await held(room, room.alice), await held(room, room.bob)
    assert [m[1:] for m in theirs["INBOX"][1]] == [m[1:] for m in ours["INBOX"][1]]
    assert "A/B_c" in {box.name for box in await room.store.mailboxes(room.bob)}


async def test_mbsyncs_maildir_comes_in_as_dovecot_had_it(
    room: Room, dovecot: Dovecot, remote: Callable[[], Account], tmp_path: Path
) -> None:
    needed("mbsync")
    for name in ("Entwürfe & mehr", "INBOX"):
        if name != "INBOX":
            await room.store.create(room.alice, name)
        items = [AppendItem(CONTENTS[n], n, "", 1767607200.0 + n) for n in (0, 1, 4, 5)]
        await room.store.append(room.alice, name, items)
    await run(export(room.store, room.alice, ImapTarget(remote())))
    (tmp_path / "mail").mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"IMAPAccount a\nHost 127.0.0.1\nPort {dovecot.port}\nUser {remote().address.user}\n"
        f"Pass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\n"
        f"MaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\n"
        "SubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns *\nCreate Near\n"
        "SyncState *\nCopyArrivalDate yes\n"
    )
    code, output = await command("mbsync", "-c", str(config), "-a")
    assert code == 0, output

    await run(bring(room.store, room.bob, MaildirSource(tmp_path / "mail")))
    by_imap = await _fresh(room, remote)

    # mbsync keeps no keywords, and puts a field of its own into what it brings.
    ours = {
        name: sorted((f, date, _TUID.sub(b"", octets)) for _, f, _, date, octets in messages)
        for name, (_, messages) in (await held(room, room.bob)).items()
    }
    assert ours == by_imap


async def _fresh(room: Room, remote: Callable[[], Account]) -> dict[str, list[object]]:
    """What Dovecot itself shows, by mailbox."""

    def work(client: IMAPClient) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {}
        source = ImapSource(remote())
        for folder in source._folders(client):
            name = source._names[folder.name]
            client.select_folder(name, readonly=True)
            items = client.fetch(client.search(), ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"])
            if items:
                found[folder.name] = sorted(
                    (_bits(i[b"FLAGS"]), int(i[b"INTERNALDATE"].timestamp()), i[b"BODY[]"])
                    for i in items.values()
                )
        return found

    return await remote().do(work)


def _bits(flags: tuple[bytes, ...]) -> int:
    names = (rb"\Seen", rb"\Answered", rb"\Flagged", rb"\Deleted", rb"\Draft")
    return sum(1 << n for n, name in enumerate(names) if name in flags)


async def test_a_wrong_password_and_a_server_that_is_not_there_are_said(
    room: Room, dovecot: Dovecot
) -> None:
    wrong = Account(Address("ann", "127.0.0.1", dovecot.port, tls=False), "wrong")
    nobody = Account(Address("ann", "127.0.0.1", 1, tls=True), "x")

    with pytest.raises(TransferError, match="no login as ann"):
        await run(bring(room.store, room.bob, ImapSource(wrong)))
    with pytest.raises(TransferError, match="run this again"):
        await run(bring(room.store, room.bob, ImapSource(nobody)))
    await wrong.close()


async def test_no_password_goes_to_another_machine_without_tls(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        while line := await reader.readline():
            heard.append(line)
            writer.write(b"* CAPABILITY IMAP4rev1\r\n" + line.split()[0] + b" OK done\r\n")

    monkeypatch.setattr(Address, "is_local", False)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ann = Account(Address("ann", "127.0.0.1", port, tls=False), "secret")

    with pytest.raises(TransferError, match="offers no TLS"):
        await run(bring(room.store, room.bob, ImapSource(ann)))

    server.close()
    assert b"secret" not in b"".join(heard)


@pytest.mark.parametrize(
    "url", ["imaps://host", "imap://ann:secret@host", "imaps://ann@host/INBOX", "imaps://a@h:x"]
)
def test_a_url_that_is_not_understood_is_refused(url: str, database: object) -> None:
    with pytest.raises(TransferError):
        Address.parse(url)
