"""FETCH as clients use it."""

from __future__ import annotations

import imaplib
import time
from typing import Any

from tests.integration.imap.running import ALICE, Raw, Running, imap4, in_thread, message


async def test_imaplib_reads_a_message(gateway: Running) -> None:
    await gateway.deliver(message(7))

    def read() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            count = client.select("INBOX")[1]
            found = client.search(None, "SUBJECT", '"Gr"')[1]
            whole = client.fetch("1", "(BODY.PEEK[] RFC822.SIZE FLAGS)")[1]
            header = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)])")[1]
            part = client.fetch("1", "(BODY.PEEK[1])")[1]
            envelope = client.fetch("1", "(ENVELOPE BODYSTRUCTURE)")[1]
            client.store("1", "+FLAGS", "(\\Seen $Work)")
            flags = client.fetch("1", "(FLAGS)")[1]
            return count, found, whole, header, part, envelope, flags
        finally:
            client.logout()

    count, found, whole, header, part, envelope, flags = await in_thread(read)

    assert count == [b"1"]
    assert found == [b"1"]
    assert whole[0][1] == message(7)
    assert b"RFC822.SIZE %d" % len(message(7)) in whole[0][0] + whole[1]
    assert header[0][1] == (
        b"From: Ann <ann@other.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"
    )
    assert part[0][1] == b"needle number 7"
    assert b'"ann" "other.test"' in envelope[0]
    assert b'"attachment" ("filename" "a.bin")' in envelope[0].lower()
    assert b"\\Seen" in flags[0]
    assert b"$Work" in flags[0]


async def test_imaplib_fetches_decoded_parts(gateway: Running) -> None:
    await gateway.deliver(message(1))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.select("INBOX", readonly=True)
            size = client.fetch("1", "(BINARY.SIZE[2] BINARY.SIZE[9])")[1]
            text = client.fetch("1", "(BINARY.PEEK[1])")[1]
            whole = client.fetch("1", "(BINARY[])")[1]
            some = client.fetch("1", "(BINARY.PEEK[1]<2.4>)")[1]
            return size, text, whole, some
        finally:
            client.logout()

    size, text, whole, some = await in_thread(work)

    assert size == [b"1 (BINARY.SIZE[2] 4 BINARY.SIZE[9] 0)"]
    assert text[0][1] == b"needle number 1"
    assert whole[0][1] == message(1)
    assert some[0] == (b"1 (BINARY[1]<2> {4}", b"edle")


async def test_a_part_with_nul_octets_is_a_literal8(gateway: Running) -> None:
    await gateway.deliver(message(1))
    client = await Raw.connect(gateway, ALICE)
    await client.ask(b"s SELECT INBOX\r\n")

    answer = b"".join(await client.ask(b"f FETCH 1 BINARY.PEEK[2]\r\n"))

    assert b"BINARY[2] ~{4}\r\n\x00\x01\x02\x03" in answer
    await client.close()


async def test_imaplib_fetches_previews_and_dates(gateway: Running) -> None:
    before = time.time()
    await gateway.deliver(message(1))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.select("INBOX")
            preview = client.fetch("1", "(PREVIEW (LAZY) UID)")[1]
            saved = client.fetch("1", "(SAVEDATE)")[1]
            today = time.strftime("%d-%b-%Y", time.gmtime(before))
            since = client.search(None, "SAVEDSINCE", today)[1]
            ever = client.search(None, "SAVEDATESUPPORTED", "SAVEDBEFORE", "1-Jan-2020")[1]
            return preview, saved, since, ever
        finally:
            client.logout()

    preview, saved, since, ever = await in_thread(work)

    assert preview == [b'1 (PREVIEW "needle number 1" UID 1)']
    moment = imaplib.Internaldate2tuple(saved[0].replace(b"SAVEDATE", b"INTERNALDATE"))
    assert moment is not None
    assert abs(time.mktime(moment) - before) < 60
    assert since == [b"1"]
    assert ever == [b""]
