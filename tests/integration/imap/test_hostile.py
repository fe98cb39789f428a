"""What a client must not be able to do (M1-M8, I17), byte by byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from libs.common.blobstore.protocol import BlobError
from libs.common.mailstore import MailStore
from tests.integration.imap.running import ALICE, BOB, Raw, Running, message


@pytest.mark.parametrize(
    "literal", [b"{52428800}", b"{52428800+}", b"{4097}", b"{4097+}", b"{9999999999}"]
)
async def test_a_stranger_is_invited_to_no_large_literal(gateway: Running, literal: bytes) -> None:
    client = await Raw.connect(gateway)

    await client.send(b"a APPEND INBOX " + literal + b"\r\n")
    answer = await client.line()

    assert not answer.startswith(b"+")
    assert answer.startswith((b"a BAD", b"a NO"))


async def test_a_stranger_cannot_fill_memory_with_many_small_literals(gateway: Running) -> None:
    client = await Raw.connect(gateway)

    await client.send(b"a LOGIN ")
    for _ in range(10):
        await client.send(b"{4000+}\r\n" + b"x" * 4000 + b" ")
    lines = await client.until(b"a")

    assert lines[0].startswith((b"a BAD", b"* BYE"))


@pytest.mark.parametrize("literal", [b"{-1}", b"{}", b"{1 }", b"{99999999999999999999999}"])
async def test_what_only_looks_like_a_literal_is_bad(gateway: Running, literal: bytes) -> None:
    client = await Raw.connect(gateway, ALICE)

    assert (await client.ask(b"a SELECT " + literal + b"\r\n"))[-1].startswith(b"a BAD")
    assert (await client.ask(b"b NOOP\r\n"))[-1].startswith(b"b OK")


async def test_an_append_too_large_is_refused_before_it_is_sent(start: Callable[..., Any]) -> None:
    async with start(allow_plain_login=True, max_append_octets=2000) as gateway:
        client = await Raw.connect(gateway, ALICE)

        assert (await client.ask(b"a APPEND INBOX {2001}\r\n"))[-1].startswith(b"a NO [TOOBIG]")
        assert (await client.ask(b"b NOOP\r\n"))[-1].startswith(b"b OK")


async def test_an_append_to_no_mailbox_is_refused_before_it_is_sent(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)

    assert (await client.ask(b"a APPEND nowhere {100}\r\n"))[-1].startswith(b"a NO [TRYCREATE]")
    assert (await client.ask(b"b NOOP\r\n"))[-1].startswith(b"b OK")


async def test_a_refused_append_that_comes_unasked_is_skipped(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)

    await client.send(b"a APPEND nowhere {11+}\r\nb LOGOUT\r\n.\r\nc NOOP\r\n")
    lines = await client.until(b"c")

    assert [line[:4] for line in lines if line[:1] in b"abc"] == [b"a NO", b"c OK"]


@pytest.mark.parametrize(
    "tail", [b"\r\n", b" trailing\r\n"], ids=["nothing after it", "text after it"]
)
async def test_an_append_must_end_where_its_literal_does(gateway: Running, tail: bytes) -> None:
    client = await Raw.connect(gateway, ALICE)
    content = message()

    answer = await client.ask(b"a APPEND INBOX {%d+}\r\n" % len(content) + content + tail)
    box = await gateway.store.mailbox(gateway.accounts[ALICE], "INBOX")

    assert box is not None
    assert (answer[-1][:4], box.messages) == ((b"a OK", 1) if tail == b"\r\n" else (b"a BA", 0))


async def test_an_append_that_breaks_off_stores_nothing(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)

    await client.send(b"a APPEND INBOX {1000+}\r\nSubject: half")
    await client.close()
    await asyncio.sleep(0.1)
    box = await gateway.store.mailbox(gateway.accounts[ALICE], "INBOX")

    assert box is not None
    assert box.messages == 0


async def test_literals_that_wait_do_not_sit_in_memory(gateway: Running) -> None:
    """Ten clients that have sent 20 MB each of an APPEND, and do not finish it."""
    clients = [await Raw.connect(gateway, ALICE) for _ in range(10)]
    before = psutil.Process().memory_info().rss
    block = b"x" * 1_000_000

    for client in clients:
        await client.send(b"a APPEND INBOX {30000000+}\r\n")
        for _ in range(20):
            await client.send(block)
    await asyncio.sleep(0.5)
    grown = psutil.Process().memory_info().rss - before
    for client in clients:
        await client.close()

    assert grown < 60_000_000


async def test_a_large_body_does_not_sit_in_memory(gateway: Running) -> None:
    """Ten clients that fetch 20 MB each and do not read it."""
    await gateway.deliver(b"Subject: large\r\n\r\n" + os.urandom(20_000_000))
    clients = [await Raw.connect(gateway, ALICE) for _ in range(10)]
    for client in clients:
        await client.ask(b"s SELECT INBOX\r\n")
    before = psutil.Process().memory_info().rss

    for client in clients:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"f FETCH 1 BODY.PEEK[]\r\n")
    await asyncio.sleep(1)
    grown = psutil.Process().memory_info().rss - before
    for client in clients:
        await client.close()

    assert grown < 40_000_000


async def test_a_body_that_cannot_be_read_is_never_half_a_response(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tagged NO within an announced literal would be taken for content by the client."""
    await gateway.deliver(b"Subject: large\r\n\r\n" + b"x" * 1_000_000)
    client = await Raw.connect(gateway, ALICE)
    await client.ask(b"s SELECT INBOX\r\n")
    good = MailStore.read

    async def failing(self: Any, stored: Any, start: int, stop: int) -> bytes:
        if start >= limit:
            raise BlobError("the disk is away")
        return await good(self, stored, start, stop)

    monkeypatch.setattr(MailStore, "read", failing)
    limit = 0
    first = await client.ask(b"a FETCH 1 (FLAGS BODY.PEEK[])\r\n")
    limit = 600_000
    await client.send(b"b FETCH 1 (FLAGS BODY.PEEK[])\r\n")
    rest = await client.reader.read()

    assert first == [b"a NO [UNAVAILABLE] a backend is away; please try again\r\n"]
    assert b"b NO" not in rest
    assert b"b OK" not in rest


async def test_a_field_name_cannot_forge_a_response(gateway: Running) -> None:
    await gateway.deliver(message())
    client = await Raw.connect(gateway, ALICE)
    await client.ask(b"s SELECT INBOX\r\n")

    lines = await client.ask(b"a FETCH 1 BODY.PEEK[HEADER.FIELDS ({9+}\r\nx\r\n* BYE\r)]\r\n")

    assert not any(line.startswith(b"* BYE") for line in lines)


async def test_a_tag_cannot_forge_a_response(gateway: Running) -> None:
    client = await Raw.connect(gateway)

    await client.send(b"x\r* BYE{99999}\r\n")

    assert b"BYE" not in await client.line()


async def test_guessing_passwords_ends_the_connection(start: Callable[..., Any]) -> None:
    async with start(allow_plain_login=True, max_logins=2) as gateway:
        client = await Raw.connect(gateway)

        await client.ask(b"a LOGIN alice@example.test wrong\r\n")
        await client.send(b"b LOGIN alice@example.test wrong\r\n")
        rest = await client.reader.read()

    assert b"* BYE" in rest
    assert b"b NO [AUTHENTICATIONFAILED]" in rest


async def test_a_stranger_may_not_stay_for_long(start: Callable[..., Any]) -> None:
    """One octet now and then must not hold a connection (slowloris)."""
    async with start(allow_plain_login=True, login_seconds=1) as gateway:
        client = await Raw.connect(gateway)

        async with asyncio.timeout(8):
            while not client.reader.at_eof():
                client.writer.write(b"x")
                await asyncio.sleep(0.2)
                if client.reader._buffer:  # type: ignore[attr-defined]
                    break
            lines = await client.reader.read()

    assert lines.startswith(b"* BYE")


async def test_too_many_commands_without_grammar_end_the_connection(
    start: Callable[..., Any],
) -> None:
    async with start(allow_plain_login=True, max_bad=3) as gateway:
        client = await Raw.connect(gateway, ALICE)

        for _ in range(4):
            await client.send(b"a ???\r\n")
        rest = await client.reader.read()

    assert rest.count(b"a BAD") == 4
    assert b"* BYE" in rest


async def test_what_follows_starttls_in_plain_text_is_not_obeyed(
    start: Callable[..., Any],
) -> None:
    async with start() as gateway:
        client = await Raw.connect(gateway)

        await client.send(b"a STARTTLS\r\nb NOOP\r\n")
        assert (await client.line()).startswith(b"a OK")
        await client.writer.start_tls(gateway.trusting(), server_hostname="localhost")
        answer = await client.ask(b"c NOOP\r\n")

    assert [line[:4] for line in answer] == [b"c OK"]


async def test_a_search_that_costs_too_much_is_cut(start: Callable[..., Any]) -> None:
    async with start(allow_plain_login=True, max_search_octets=5000) as gateway:
        await gateway.deliver(*(message(n) for n in range(30)))
        client = await Raw.connect(gateway, ALICE)
        await client.ask(b"s SELECT INBOX\r\n")

        cut = await client.ask(b"a SEARCH BODY nothing\r\n")
        cheap = await client.ask(b"b SEARCH UNSEEN\r\n")

    assert cut[-1].startswith(b"a NO [LIMIT]")
    assert cheap[-1].startswith(b"b OK")


async def test_names_never_become_keys_or_paths(gateway: Running, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_dir()}
    client = await Raw.connect(gateway, ALICE)

    for number, name in enumerate((b"../../up", b"%2e%2e/x", b"/etc/passwd", b"a\\b")):
        quoted = name.replace(b"\\", b"\\\\")
        await client.ask(b'c%d CREATE "%b"\r\n' % (number, quoted))
    answer = await client.ask(b"z CREATE {3+}\r\na\0b\r\n")
    after = {path for path in tmp_path.rglob("*") if path.is_dir()}

    assert answer[-1].startswith((b"z NO", b"z BAD"))
    assert after == before


async def test_a_deleted_mailbox_ends_the_sessions_that_have_it_selected(
    gateway: Running,
) -> None:
    one = await Raw.connect(gateway, ALICE)
    two = await Raw.connect(gateway, ALICE)
    await one.ask(b"a SELECT Junk\r\n")

    await two.ask(b"b DELETE Junk\r\n")

    assert (await one.ask(b"c NOOP\r\n"))[0].startswith(b"* BYE")


async def test_stopping_says_bye_to_all_and_finishes_what_is_under_way(
    start: Callable[..., Any],
) -> None:
    async with start(allow_plain_login=True) as gateway:
        content = b"Subject: large\r\n\r\n" + os.urandom(3_000_000)
        await gateway.deliver(content)
        idle, busy, quiet = [await Raw.connect(gateway, ALICE) for _ in range(3)]
        await idle.ask(b"a SELECT INBOX\r\n")
        await idle.send(b"b IDLE\r\n")
        assert (await idle.line()).startswith(b"+")
        await busy.ask(b"a SELECT INBOX\r\n")
        busy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await busy.send(b"b FETCH 1 BODY.PEEK[]\r\n")
        await asyncio.sleep(0.3)

        gateway.platform.stopping.set()
        await asyncio.sleep(0.3)
        busy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            fetched, idled, rest = [await c.reader.read() for c in (busy, idle, quiet)]
            await gateway.task

    assert idled.startswith(b"* BYE")
    assert rest.startswith(b"* BYE")
    assert content in fetched
    assert fetched.index(b"b OK") < fetched.index(b"* BYE")


MATRIX = [
    b"SELECT Secret", b"EXAMINE Secret", b"STATUS Secret (MESSAGES UIDNEXT MAILBOXID)",
    b"DELETE Secret", b"RENAME Secret Mine", b"SUBSCRIBE Secret", b"UNSUBSCRIBE Secret",
    b"GETQUOTAROOT Secret", b"GETMETADATA Secret (/shared/comment)",
    b'SETMETADATA Secret (/shared/comment "x")', b"APPEND Secret {4+}\r\nA: b", b"COPY 1 Secret",
    b"MOVE 1 Secret", b"UID COPY 1 Secret", b"UID MOVE 1 Secret", b"REPLACE 1 Secret {4+}\r\nA: b",
    b"UID REPLACE 1 Secret {4+}\r\nA: b",
    b'APPEND Sent CATENATE (URL "/Secret/;UID=1")',
    b'APPEND Sent CATENATE (URL "imap://alice%%40example.test@localhost/Secret/;UID=1")',
]  # fmt: skip
SILENT = [
    b'LIST "" "Secret*"', b'LSUB "" "Secret*"', b'LIST "" "%" RETURN (STATUS (MESSAGES) METADATA'
    b" (/shared/comment))", b"SEARCH TEXT needle", b"UID SEARCH UID 1:99 EMAILID %b",
    b"SORT (SUBJECT) UTF-8 TEXT needle", b"THREAD REFS UTF-8 TEXT needle",
    b"UID FETCH 2:99 (BODY.PEEK[] PREVIEW)", b"FETCH 2:99 (BINARY.PEEK[1])",
    b'GETMETADATA "" (/shared/comment)',
]  # fmt: skip


async def test_no_command_reaches_the_mailbox_of_another_account(gateway: Running) -> None:
    """Bob tries every command that names a mailbox or a message on what is Alice's (M6, I7)."""
    alice, bob = gateway.accounts[ALICE], gateway.accounts[BOB]
    await gateway.store.create(alice, "Secret")
    await gateway.deliver(message(1), to="Secret")
    secret = await gateway.store.mailbox(alice, "Secret")
    assert secret is not None
    await gateway.store.annotate(alice, secret.id, {"/shared/comment": b"needle"})
    await gateway.deliver(b"Subject: plain\r\n\r\nnothing\r\n", account=BOB)
    (entry,) = await gateway.store.entries(secret.id)
    client = await Raw.connect(gateway, BOB)
    await client.ask(b"s SELECT INBOX\r\n")

    for number, line in enumerate(MATRIX):
        answer = b"".join(await client.ask(b"m%d %b\r\n" % (number, line.replace(b"%%", b"%"))))
        assert b"m%d NO " % number in answer, (line, answer)
        assert b"needle" not in answer, (line, answer)
        if b"* OK [CLOSED]" in answer or line.startswith((b"SELECT", b"EXAMINE")):
            await client.ask(b"s SELECT INBOX\r\n")
    for number, line in enumerate(SILENT):
        line = line.replace(b"%b", b"M" + entry.mail_id.encode())
        answer = b"".join(await client.ask(b"q%d %b\r\n" % (number, line)))
        told = [part for part in answer.split(b"\r\n") if part.startswith(b"* ")]
        assert b"q%d OK " % number in answer, (line, answer)
        assert not any(b"Secret" in part or b"needle" in part for part in told), (line, answer)
        assert not any(part.split(b" ", 2)[1:2] == [b"SEARCH"] and b"1" in part for part in told)

    after = await gateway.store.mailbox(alice, "Secret")
    assert after == secret
    assert await gateway.store.mailbox(bob, "Mine") is None
    await client.close()
