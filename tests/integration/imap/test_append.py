"""Messages come in, are copied, moved and expunged."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.integration.imap.running import (
    ALICE,
    Raw,
    Running,
    client_of,
    imap4,
    in_thread,
    message,
    tried,
)


async def test_imapclient_appends(gateway: Running) -> None:
    large = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n"
    large += (b"y" * 76 + b"\r\n") * 20_000

    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client:
            first = client.append("Sent", message(1), flags=[b"\\Seen", b"$Sent"])
            second = client.append("Sent", large)
            client.select_folder("Sent")
            uids = client.search("ALL")
            found = client.fetch(uids, ["BODY.PEEK[]", "FLAGS"])
            return first, second, uids, found

    first, second, uids, found = await in_thread(work)

    assert re.search(rb"\[APPENDUID \d+ 1\]", first)
    assert re.search(rb"\[APPENDUID \d+ 2\]", second)
    assert uids == [1, 2]
    assert found[1][b"BODY[]"] == message(1)
    assert set(found[1][b"FLAGS"]) == {b"\\Seen", b"$Sent"}
    assert found[2][b"BODY[]"] == large


async def test_imapclient_appends_many_at_once(gateway: Running) -> None:
    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client:
            answer = client.multiappend("Sent", [message(n) for n in range(20)])
            client.select_folder("Sent")
            found = client.fetch(client.search("ALL"), ["BODY.PEEK[]"])
            return answer, [one[b"BODY[]"] for one in found.values()]

    answer, found = await in_thread(work)

    assert b" 1:20]" in answer[1][0]
    assert found == [message(n) for n in range(20)]


async def test_imapclient_expunges_only_the_uids_it_names(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2), message(3))

    def work() -> list[int]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            client.delete_messages([1, 2, 3])
            client.uid_expunge([2])
            left = client.search("ALL")
            client.expunge()
            return [left, client.search("ALL")]

    assert await in_thread(work) == [[1, 3], []]


async def test_imapclient_moves(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2))

    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            client.copy([1], "Archive")
            client.move([2], "Archive")
            left = client.search("ALL")
            client.select_folder("Archive")
            uids = client.search("ALL")
            return left, client.fetch(uids, ["BODY.PEEK[]"])

    left, archived = await in_thread(work)

    assert left == [1]
    assert [found[b"BODY[]"] for found in archived.values()] == [message(1), message(2)]


async def test_imaplib_replaces_a_draft(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2), to="Drafts")

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.select("Drafts")
            client.literal = message(3)
            typ, _ = client.xatom("UID REPLACE", "1", "Drafts", "(\\Draft)")
            appended = client.response("APPENDUID")[1]
            expunged = client.response("EXPUNGE")[1]
            uids = client.uid("SEARCH", "ALL")[1]
            gone = tried(client, "UID REPLACE", "1", "Drafts")
            return typ, appended, expunged, uids, gone[0], client.noop()[0]
        finally:
            client.logout()

    typ, appended, expunged, uids, gone, after = await in_thread(work)

    assert typ == "OK"
    assert appended[0].endswith(b" 3")
    assert expunged == [b"1"]
    assert uids == [b"2 3"]
    assert (gone, after) == ("BAD", "OK")


async def test_imaplib_puts_a_message_together(gateway: Running) -> None:
    await gateway.deliver(message(7))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            url = '"/INBOX/;UID=1/;SECTION=1"'
            bad = client.xatom("APPEND", "Drafts", "CATENATE", '(URL "/INBOX/;UID=9")')
            good = client.xatom("APPEND", "Drafts", "CATENATE", f"(URL {url} URL {url})")
            client.select("Drafts")
            return bad, good, client.fetch("1:*", "(BODY.PEEK[])")[1]
        finally:
            client.logout()

    bad, good, found = await in_thread(work)

    assert bad[0] == "NO"
    assert b'[BADURL "/INBOX/;UID=9"]' in bad[1][0]
    assert good[0] == "OK"
    assert [part[1] for part in found if isinstance(part, tuple)] == [b"needle number 7" * 2]


def literal(data: bytes) -> bytes:
    return b"{%d+}\r\n%b" % (len(data), data)


async def test_texts_and_parts_are_put_together_in_their_order(gateway: Running) -> None:
    await gateway.deliver(message(7))
    client = await Raw.connect(gateway, ALICE)
    first = b" ".join(
        [
            b"TEXT " + literal(b"A: b\r\n\r\n"),
            b'URL "/INBOX/;UID=1/;SECTION=1"',
            b"TEXT " + literal(b", yes "),
            b"URL " + literal(b"/INBOX/;UID=1/;PARTIAL=0.5"),
        ]
    )

    good = await client.ask(
        b"a APPEND Drafts (\\Draft) CATENATE (%b) %b\r\n" % (first, literal(b"B: c\r\n"))
    )
    bad = await client.ask(b"b APPEND Drafts CATENATE (TEXT %b X)\r\n" % literal(b"A: b\r\n"))
    other = await client.ask(b'c APPEND Drafts CATENATE (URL "imap://bob@x/INBOX/;UID=1")\r\n')
    box = await gateway.store.mailbox(gateway.accounts[ALICE], "Drafts")
    assert box is not None
    stored = await gateway.store.stored(box.id, None)

    assert good[-1].startswith(b"a OK"), good
    assert bad[-1].startswith(b"b BAD"), bad
    assert other[-1].startswith(b"c NO [BADURL"), other
    assert [await gateway.store.read(one, 0, 1000) for one in stored] == [
        b"A: b\r\n\r\nneedle number 7, yes From:",
        b"B: c\r\n",
    ]
    await client.close()


async def test_imaplib_accepts_utf8(gateway: Running) -> None:
    text = "From: Jürgen <jürgen@other.test>\r\nSubject: Grüße\r\n\r\nhi\r\n".encode()
    # imaplib puts `UTF8 (` into the literal instead of before it, so the message comes by hand.
    sender = await Raw.connect(gateway, ALICE)
    early = await sender.ask(b"a APPEND Sent UTF8 (~{%d+}\r\n%b)\r\n" % (len(text), text))
    await sender.ask(b"e ENABLE UTF8=ACCEPT\r\n")
    taken = await sender.ask(b"b APPEND Sent UTF8 (~{%d+}\r\n%b)\r\n" % (len(text), text))
    await sender.close()

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.enable("UTF8=ACCEPT")
            client.create('"Füße"')
            client.select("Sent")
            return client.fetch("1", "(BODY.PEEK[])")[1], client.list()[1]
        finally:
            client.logout()

    found, names = await in_thread(work)

    assert early[-1].startswith(b"a BAD")
    assert taken[-1].startswith(b"b OK")
    assert found[0][1] == text
    assert any("Füße".encode() in name for name in names)


async def test_imaplib_is_told_the_largest_message(start: Callable[..., Any]) -> None:
    async with start(allow_plain_login=True, max_append_octets=2048) as gateway:

        def work() -> tuple[Any, ...]:
            client = imap4(gateway)
            try:
                words = client.capability()[1][0].split()
                status = client.status("INBOX", "(APPENDLIMIT)")[1]
                return words, status, client.append("Sent", None, None, b"x" * 3000)
            finally:
                client.logout()

        words, status, refused = await in_thread(work)

    assert b"APPENDLIMIT=2048" in words
    assert status == [b"INBOX (APPENDLIMIT 2048)"]
    assert refused[0] == "NO"
    assert b"[TOOBIG]" in refused[1][0]


async def test_a_literal8_with_nul_is_not_taken(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)

    refused = await client.ask(b"a APPEND Sent ~{6+}\r\nA: \x00\r\n\r\n")
    taken = await client.ask(b"b APPEND Sent ~{6+}\r\nA: b\r\n\r\n")

    assert refused[-1].startswith(b"a NO [UNKNOWN-CTE]")
    assert taken[-1].startswith(b"b OK")
    await client.close()
