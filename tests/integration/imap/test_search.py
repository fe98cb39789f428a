"""SEARCH, SORT and THREAD as clients use them."""

from __future__ import annotations

import time
from typing import Any

from libs.common.mailstore import AppendItem
from libs.common.mailstore.indexing import index_some
from libs.common.mailstore.search_index import Sought
from tests.integration.imap.running import ALICE, Running, client_of, imap4, in_thread, message


async def test_imaplib_asks_for_search_results_in_short(gateway: Running) -> None:
    await gateway.deliver(*(message(n) for n in range(5)))

    def work() -> list[Any]:
        client = imap4(gateway)
        try:
            client.select("INBOX")
            client.store("2", "+FLAGS", "(\\Deleted)")
            client.expunge()
            answers = []
            for criteria in (
                ("RETURN", "(MIN MAX COUNT)", "ALL"),
                ("RETURN", "()", "ALL"),
                ("RETURN", "(COUNT ALL)", "FLAGGED"),
            ):
                client.uid("SEARCH", *criteria)
                answers.append(client.response("ESEARCH")[1][0])
            return answers
        finally:
            client.logout()

    answers = [answer.split(b") ", 1)[1] for answer in await in_thread(work)]

    assert answers == [b"UID MIN 1 MAX 5 COUNT 4", b"UID ALL 1,3:5", b"UID COUNT 0"]


FROM = (
    b"From: %b\r\nTo: alice@example.test\r\nSubject: %b\r\nDate: %b\r\n"
    b"Message-ID: <%d@x.test>\r\n%b\r\nsome text\r\n"
)


async def conversation(gateway: Running) -> None:
    """Four messages: 1 and its reply 3, another one, and a late answer by subject only."""
    await gateway.deliver(
        FROM % (b"Zoe <a@x.test>", b"beta", b"Mon, 2 Feb 2026 10:00:00 +0000", 1, b""),
        FROM % (b"Anna <z@x.test>", b"Alpha", b"Mon, 2 Feb 2026 09:00:00 +0000", 2, b""),
        FROM
        % (
            *(b"m@x.test", b"Re: beta", b"Mon, 2 Feb 2026 12:00:00 +0000", 3),
            b"References: <1@x.test>\r\n",
        ),
        FROM % (b"Q <q@x.test>", b"Re: [list] alpha", b"Tue, 3 Feb 2026 09:00:00 +0000", 4, b""),
    )


async def test_imaplib_uses_a_saved_result(gateway: Running) -> None:
    await conversation(gateway)

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.select("INBOX")
            client.xatom("SEARCH", "RETURN", "(SAVE)", "SUBJECT", "beta")
            told = client.response("ESEARCH")[1]
            fetched = client.fetch("$", "(UID)")[1]
            stored = client.store("$", "+FLAGS", "(\\Flagged)")[1]
            within = client.search(None, "$", "SUBJECT", "Re:")[1]
            client.copy("$", "Archive")
            client.xatom("SEARCH", "RETURN", "(SAVE MIN)", "ALL")
            first = client.fetch("$", "(UID)")[1]
            client.xatom("SEARCH", "RETURN", "(SAVE)", "CHARSET", "KOI8-R", "ALL")
            nothing = client.fetch("$", "(UID)")[1]
            return told, fetched, len(stored), within, first, nothing
        finally:
            client.logout()

    told, fetched, stored, within, first, nothing = await in_thread(work)

    assert told == [None]
    assert fetched == [b"1 (UID 1)", b"3 (UID 3)"]
    assert stored == 2
    assert within == [b"3"]
    assert first == [b"1 (UID 1)"]
    assert nothing == [None]


async def test_imapclient_searches_within_a_time(gateway: Running) -> None:
    item = AppendItem(message(1), 0, "", time.time() - 5000)
    await gateway.store.append(gateway.accounts[ALICE], "INBOX", [item])
    await gateway.deliver(message(2))

    def work() -> list[Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            return [client.search(words) for words in ("YOUNGER 3600", "OLDER 3600")]

    assert await in_thread(work) == [[2], [1]]


async def test_imaplib_asks_for_a_part_of_the_results(gateway: Running) -> None:
    await gateway.deliver(*(message(n) for n in range(10)))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.select("INBOX")
            found = []
            for part in ("2:4", "-1:-2", "50:60"):
                client.uid("SEARCH", "RETURN", f"(PARTIAL {part} COUNT)", "ALL")
                found.append(client.response("ESEARCH")[1][0].split(b") ", 1)[1])
            last = client.uid("FETCH", "1:*", "(FLAGS)", "(PARTIAL -1:-3)")[1]
            return found, last
        finally:
            client.logout()

    found, last = await in_thread(work)

    assert found == [
        b"UID COUNT 10 PARTIAL (2:4 2:4)",
        b"UID COUNT 10 PARTIAL (-1:-2 9:10)",
        b"UID COUNT 10 PARTIAL (50:60 NIL)",
    ]
    assert [line.split()[0] for line in last] == [b"8", b"9", b"10"]


async def test_imapclient_sorts(gateway: Running) -> None:
    await conversation(gateway)

    def work() -> list[Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            orders = (
                ["DATE"],
                ["REVERSE DATE"],
                ["SUBJECT"],
                ["SUBJECT", "REVERSE DATE"],
                ["FROM"],
                ["DISPLAYFROM"],
                ["REVERSE ARRIVAL"],
            )
            found = [client.sort(order) for order in orders]
            return [*found, client.sort("SIZE", "SUBJECT beta")]

    found = await in_thread(work)

    assert found[:6] == [
        [2, 1, 3, 4],
        [4, 3, 1, 2],
        [2, 4, 1, 3],
        [4, 2, 3, 1],
        [1, 3, 4, 2],
        [2, 3, 4, 1],
    ]
    assert sorted(found[6]) == [1, 2, 3, 4]
    assert found[7] == [1, 3]


async def test_imaplib_sorts_in_short(gateway: Running) -> None:
    await conversation(gateway)

    def work() -> list[Any]:
        client = imap4(gateway)
        try:
            client.select("INBOX")
            found = []
            for results in ("(MIN MAX COUNT)", "(ALL)", "(PARTIAL 1:2)"):
                client.uid("SORT", "RETURN", results, "(DATE)", "UTF-8", "ALL")
                found.append(client.response("ESEARCH")[1][0].split(b") ", 1)[1])
            return found
        finally:
            client.logout()

    assert await in_thread(work) == [
        b"UID MIN 2 MAX 4 COUNT 4",
        b"UID ALL 2,1,3:4",
        b"UID PARTIAL (1:2 2,1)",
    ]


async def test_imapclient_threads(gateway: Running) -> None:
    await conversation(gateway)

    def work() -> list[Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            ways = ("REFERENCES", "REFS", "ORDEREDSUBJECT")
            return [client.thread(algorithm=way) for way in ways]

    assert await in_thread(work) == [
        ((2, 4), (1, 3)),
        ((2,), (1, 3), (4,)),
        ((2, 4), (1, 3)),
    ]


async def test_addresses_and_subjects_are_found_decoded(gateway: Running) -> None:
    await conversation(gateway)
    await gateway.deliver(message(9))

    def work() -> list[Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            asked: list[Any] = [
                ["FROM", "ZOE"],
                ["FROM", "a@x.test"],
                ["FROM", "Anna <z@"],
                ["TO", "alice@EXAMPLE"],
                ["SUBJECT", "grüße"],
                ["HEADER", "Message-ID", "<3@x.test>"],
                ["HEADER", "References", ""],
                ["BCC", "nobody"],
                ["SENTON", "3-Feb-2026"],
                ["NOT", "FROM", "x.test", "BODY", "needle"],
            ]
            return [client.search(words, "UTF-8") for words in asked]

    assert await in_thread(work) == [[1], [1], [2], [1, 2, 3, 4, 5], [5], [3], [3], [], [4], [5]]


async def test_search_answers_the_same_with_an_index_and_reads_less(gateway: Running) -> None:
    """The tail that is not indexed yet is scanned, and so is what the index cannot tell."""
    await gateway.deliver(*(message(n) for n in range(6)))
    odd = b"no field at first\r\n\r\nneedle number 99\r\n"
    await gateway.deliver(odd)
    asked: list[Any] = [
        ["BODY", "NEEDLE number 3"],
        ["TEXT", "grüsse"],
        ["TEXT", "a.bin"],
        ["NOT", "BODY", "needle"],
        ["OR", "BODY", "number 99", "SUBJECT", "absent"],
        ["BODY", "number 1", "FROM", "ann"],
        ["OR", "BODY", "number 2", "HEADER", "Message-ID", "<4@other.test>"],
        ["BODY", "absent"],
        ["TEXT", "late"],
    ]

    def work() -> list[Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            return [client.search(words, "UTF-8") for words in asked]

    plain = await in_thread(work)
    assert plain == [[4], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [], [7], [2], [3, 5], [], []]
    box = await gateway.store.mailbox(gateway.accounts[ALICE], "INBOX")
    assert box
    database, blobs = gateway.platform.database, gateway.platform.blobs
    while await index_some(database, blobs, box.id):
        pass
    await gateway.deliver(b"Subject: late\r\n\r\nneedle number 3\r\n")

    plain[0].append(8)
    plain[8].append(8)
    assert await in_thread(work) == plain
    # What is indexed is not read: without its segment only the tail and the odd one would fail.
    answers = await gateway.store.search(box.id, [Sought("needle number 3", True)])
    assert (answers.upto, len(answers.opaque), len(answers.found[0])) == (7, 1, 1)
