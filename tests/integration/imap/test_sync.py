"""What one client changes, others are told: IDLE, CONDSTORE, QRESYNC."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from services.imap.gateway import CATCH_UP_SECONDS
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


async def test_imapclient_is_told_of_new_mail_while_idle(gateway: Running) -> None:
    ready, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> tuple[Any, float, Any]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            client.idle()
            loop.call_soon_threadsafe(ready.set)
            told = client.idle_check(timeout=10)
            at = time.monotonic()
            client.idle_done()
            return told, at, client.search("ALL")

    watching = asyncio.create_task(in_thread(watch))
    await ready.wait()
    await asyncio.sleep(0.2)
    await gateway.deliver(message(1))
    committed = time.monotonic()
    told, at, found = await watching

    assert (1, b"EXISTS") in told
    assert found == [1]
    assert at - committed < CATCH_UP_SECONDS / 2, "told by looking, not by the notice"


async def test_flags_of_one_client_reach_another(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2))

    def work() -> tuple[Any, Any]:
        with client_of(gateway) as one, client_of(gateway) as two:
            one.select_folder("INBOX")
            two.select_folder("INBOX")
            one.add_flags([1], [b"\\Flagged"])
            flagged = two.noop()[1]
            one.delete_messages([1])
            one.expunge()
            return flagged, two.noop()[1]

    flagged, expunged = await in_thread(work)

    assert any(item[1] == b"FETCH" and b"\\Flagged" in str(item).encode() for item in flagged)
    assert (1, b"EXPUNGE") in expunged


async def test_imapclient_resynchronises_by_modseq(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2), message(3))

    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client, client_of(gateway) as other:
            enabled = client.enable("CONDSTORE")
            before = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
            other.select_folder("INBOX")
            other.add_flags([2], [b"\\Flagged"])
            told = client.noop()[1]
            changed = client.fetch([1, 2, 3], ["FLAGS"], modifiers=[f"CHANGEDSINCE {before}"])
            after = client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"]
            found = client.search(f"MODSEQ {after}")
            client._imap.uid(
                "STORE", "1:3", f"(UNCHANGEDSINCE {before})", "+FLAGS.SILENT", "(\\Seen)"
            )
            return enabled, before, told, changed, after, found, client.get_flags([1, 2, 3])

    enabled, before, told, changed, after, found, flags = await in_thread(work)

    assert enabled == [b"CONDSTORE"]
    assert after > before
    assert any(b"MODSEQ" in item[2] for item in told if item[1] == b"FETCH")
    assert list(changed) == [2]
    assert changed[2][b"MODSEQ"] == (after,)
    assert (list(found), found.modseq) == ([2], after)
    assert [b"\\Seen" in flags[uid] for uid in (1, 2, 3)] == [True, False, True]


async def test_imaplib_resynchronises_quickly(gateway: Running) -> None:
    await gateway.deliver(*(message(n) for n in range(6)))

    def work() -> tuple[Any, ...]:
        client, other = imap4(gateway), imap4(gateway)
        try:
            client.enable("QRESYNC")
            client.select("INBOX")
            validity = client.response("UIDVALIDITY")[1][0].decode()
            modseq = client.response("HIGHESTMODSEQ")[1][0].decode()
            client.unselect()
            other.select("INBOX")
            other.uid("STORE", "2,4", "+FLAGS", "(\\Deleted)")
            other.expunge()
            other.uid("STORE", "5", "+FLAGS", "(\\Flagged)")
            client.untagged_responses.clear()
            client.xatom("SELECT", "INBOX", f"(QRESYNC ({validity} {modseq} 1:6))")
            vanished, changed = client.response("VANISHED")[1], client.response("FETCH")[1]
            client.xatom("SELECT", "INBOX", f"(QRESYNC ({validity} {modseq} 3:5))")
            known = client.response("VANISHED")[1]
            client.state = "SELECTED"
            other.uid("STORE", "6", "+FLAGS", "(\\Deleted)")
            other.expunge()
            client.noop()
            live = client.response("VANISHED")[1]
            client.uid("FETCH", "1:*", "(FLAGS)", f"(CHANGEDSINCE {modseq} VANISHED)")
            again = client.response("VANISHED")[1]
            return vanished, changed, known, live, again
        finally:
            client.logout()
            other.logout()

    vanished, changed, known, live, again = await in_thread(work)

    assert vanished == [b"(EARLIER) 2,4"]
    assert [line.split(b" MODSEQ")[0] for line in changed] == [b"3 (UID 5 FLAGS (\\Flagged)"]
    assert known == [b"(EARLIER) 4"]
    assert live == [b"6"]
    assert again == [b"(EARLIER) 2,4,6"]


async def test_a_select_with_qresync_must_be_enabled_first(gateway: Running) -> None:
    client = await Raw.connect(gateway, ALICE)

    refused = await client.ask(b"a SELECT INBOX (QRESYNC (1 1))\r\n")
    fetch = await client.ask(b"b SELECT INBOX\r\n")
    vanished = await client.ask(b"c UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)\r\n")

    assert refused[-1].startswith(b"a BAD")
    assert fetch[-1].startswith(b"b OK")
    assert vanished[-1].startswith(b"c BAD")
    await client.close()


async def test_imaplib_does_without_sequence_numbers(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2), message(3))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client.enable("UIDONLY")
            client.select("INBOX")
            client.uid("FETCH", "2:3", "(FLAGS)")
            fetched = client.response("UIDFETCH")[1]
            client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
            client.response("UIDFETCH")
            client.uid("EXPUNGE", "2")
            gone = client.response("VANISHED")[1], client.response("EXPUNGE")[1]
            refused = [
                tried(client, "FETCH", "1", "(FLAGS)"),
                tried(client, "SEARCH", "ALL"),
                tried(client, "UID", "SEARCH", "1:2"),
                tried(client, "COPY", "1", "Sent"),
            ]
            return fetched, gone, refused
        finally:
            client.logout()

    fetched, gone, refused = await in_thread(work)

    assert fetched == [b"2 (FLAGS ())", b"3 (FLAGS ())"]
    assert gone == ([b"2"], [None])
    assert all(typ == "BAD" and b"[UIDREQUIRED]" in text for typ, text in refused)
