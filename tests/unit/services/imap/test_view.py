"""The view: sequence numbers, sets, and what changed since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.mailstore import AppendItem, Entry, Flag, Mailbox, MailStore
from libs.common.runtime.settings import PlatformSettings
from libs.protocols.imap.parse import Parser
from libs.protocols.imap.search import Results
from services.imap.command.search import esearch
from services.imap.command.store import Change
from services.imap.extensions import Situation, capability_list
from services.imap.shared import MAX_CHANGES, Mailboxes
from services.imap.view import View
from services.platform import open_platform
from tests.servers.schema import at_head


@pytest.fixture
async def selected(tmp_path: Path) -> AsyncIterator[tuple[MailStore, Mailbox, View]]:
    """A mailbox of three messages, and a view of it."""
    settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
    )
    async with open_platform(settings) as platform:
        await at_head(platform.database)
        await create_domain(platform.database, "example.test")
        [account] = await create_accounts(platform.database, ["a@example.test"], "")
        store = MailStore(platform.database, platform.blobs, platform.queue)
        await store.append(account, "INBOX", [AppendItem(b"A: b\r\n\r\n", 0, "", None)] * 3)
        box = await store.mailbox(account, "INBOX")
        assert box is not None
        view = View(box, read_only=False)
        await view.load(Mailboxes(store, 1000))
        yield store, box, view


def numbers(view: View, text: bytes, *, uid: bool) -> list[int]:
    return view.select(Parser(text).sequence_set(), uid=uid)


async def test_sequence_numbers_close_up_and_uids_do_not(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, view = selected
    await store.store(box.id, [2], "add", Flag.DELETED, "")
    await store.expunge(box.id, [2])

    news = await view.refresh()

    assert (news.expunged, news.numbers) == ([2], [2])
    assert view.uids == [1, 3]
    assert [view.number(uid) for uid in view.uids] == [1, 2]
    assert numbers(view, b"2", uid=False) == [3]
    assert numbers(view, b"2", uid=True) == []


@pytest.mark.parametrize(
    ("text", "uid", "chosen"),
    [
        (b"1:*", False, [1, 2, 3]),
        (b"*", False, [3]),
        (b"2,1,2", False, [1, 2]),
        (b"4:9", False, []),
        (b"9:*", True, [3]),
        (b"*:9", True, [3]),
        (b"1:2", True, [1, 2]),
    ],
)
async def test_sets_choose_messages(
    selected: tuple[MailStore, Mailbox, View], text: bytes, uid: bool, chosen: list[int]
) -> None:
    assert numbers(selected[2], text, uid=uid) == chosen


async def test_a_star_in_an_empty_mailbox_chooses_nothing(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, _ = selected
    archive = await store.mailbox(box.account_id, "Archive")
    assert archive is not None
    empty = View(archive, read_only=False)
    await empty.load(Mailboxes(store, 1000))

    assert numbers(empty, b"*", uid=True) == []
    assert numbers(empty, b"1:*", uid=False) == []


async def test_news_are_told_once(selected: tuple[MailStore, Mailbox, View]) -> None:
    store, box, view = selected
    await store.append(box.account_id, "INBOX", [AppendItem(b"A: b\r\n\r\n", 0, "", None)])
    await store.store(box.id, [1], "add", Flag.SEEN, "$Work")

    news, again = await view.refresh(), await view.refresh()

    assert (news.exists, news.flagged, news.expunged) == (True, [1], [])
    assert (again.exists, again.flagged, again.expunged, again.gone) == (False, [], [], False)
    assert view.entries[1].keywords == "$Work"


async def test_a_message_that_came_and_went_is_no_news(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, view = selected
    item = AppendItem(b"A: b\r\n\r\n", Flag.DELETED, "", None)
    _, [uid] = await store.append(box.account_id, "INBOX", [item])
    await store.expunge(box.id, [uid])

    news = await view.refresh()

    assert (news.exists, news.expunged, view.uids) == (False, [], [1, 2, 3])


async def test_views_of_one_mailbox_share_what_they_know(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, _ = selected
    mailboxes = Mailboxes(store, 1000)
    one, two = View(box, read_only=False), View(box, read_only=False)
    await one.load(mailboxes)
    await two.load(mailboxes)
    await store.append(box.account_id, "INBOX", [AppendItem(b"A: b\r\n\r\n", 0, "", None)])

    assert one.uids is two.uids
    assert (await one.refresh()).exists
    assert two.changed.is_set()
    assert two.uids == [1, 2, 3]
    assert two.catch_up().exists
    assert one.uids is two.uids
    assert not two.changed.is_set()


async def test_a_session_far_behind_is_told_all_the_same(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, _ = selected
    mailboxes = Mailboxes(store, 1000)
    quick, slow = View(box, read_only=False), View(box, read_only=False)
    await quick.load(mailboxes)
    await slow.load(mailboxes)
    await store.store(box.id, [1, 2], "add", Flag.DELETED, "")
    await store.expunge(box.id, [1])
    await quick.refresh()
    for n in range(MAX_CHANGES + 5):
        await store.store(box.id, [3], "replace", 0, f"$k{n}")
        await quick.refresh()

    assert slow.select(((1, 3),), uid=False) == [2, 3]
    news = slow.catch_up()

    assert (news.expunged, news.numbers, news.flagged) == ([1], [1], [2, 3])
    assert slow.uids is quick.uids


async def test_mailboxes_stay_in_memory_as_long_as_there_is_room(
    selected: tuple[MailStore, Mailbox, View],
) -> None:
    store, box, _ = selected
    for most, kept in ((3, True), (2, False)):
        mailboxes = Mailboxes(store, most)
        view = View(box, read_only=False)
        await view.load(mailboxes)
        view.leave(mailboxes)

        assert (mailboxes.get(box.id) is not None) is kept


async def test_a_deleted_mailbox_is_gone(selected: tuple[MailStore, Mailbox, View]) -> None:
    store, box, view = selected
    await store.create(box.account_id, "Brief")
    brief = await store.mailbox(box.account_id, "Brief")
    assert brief is not None
    view = View(brief, read_only=True)
    await view.load(Mailboxes(store, 1000))

    await store.delete(box.account_id, "Brief")

    assert (await view.refresh()).gone


@pytest.mark.parametrize(
    ("results", "found", "uid", "line"),
    [
        (("MIN", "MAX"), [3, 9], True, b'ESEARCH (TAG "t") UID MIN 3 MAX 9'),
        (("ALL", "COUNT"), [3, 4], False, b'ESEARCH (TAG "t") COUNT 2 ALL 3:4'),
        (("MIN", "MAX", "ALL"), [], False, b'ESEARCH (TAG "t")'),
    ],
)
def test_search_results_in_short(
    results: tuple[str, ...], found: list[int], uid: bool, line: bytes
) -> None:
    assert esearch("t", Results(results), found, uid=uid) == line


@pytest.mark.parametrize(
    ("mode", "flags", "keywords"),
    [("replace", 1, "b"), ("add", 3, "a b"), ("remove", 2, "a")],
)
def test_a_client_knows_what_its_own_change_does(mode: str, flags: int, keywords: str) -> None:
    entry = Entry(1, "m", 2, "a", 1, 0.0, 1)
    change = Change(mode, 1, "b", True, None)  # type: ignore[arg-type]

    assert change.expected(entry) == (flags, keywords)


def test_login_is_offered_only_where_it_is_allowed() -> None:
    plain = capability_list(Situation(True, False, (), False)).split()
    secure = capability_list(Situation(True, True, ("PLAIN",), False)).split()

    assert {b"STARTTLS", b"LOGINDISABLED"} <= set(plain)
    assert b"AUTH=PLAIN" not in plain
    assert b"AUTH=PLAIN" in secure
    assert not {b"STARTTLS", b"LOGINDISABLED"} & set(secure)
