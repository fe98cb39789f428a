"""Clients that are not ours; every capability names one of these tests (rule 14)."""

from __future__ import annotations

import asyncio
import imaplib
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from services.imap.extensions import CAPABILITIES
from tests.integration.imap.running import (
    ALICE,
    BOB,
    PASSWORD,
    Running,
    command,
    in_thread,
    message,
)


def imap4(gateway: Running) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", gateway.port, timeout=20)
    client.login(ALICE, PASSWORD)
    return client


def client_of(gateway: Running, account: str = ALICE) -> IMAPClient:
    client = IMAPClient("127.0.0.1", gateway.port, ssl=False, timeout=20)
    client.login(account, PASSWORD)
    return client


def test_every_capability_names_a_test_that_exists() -> None:
    missing = [c.name for c in CAPABILITIES if c.test not in globals()]

    assert missing == []


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


async def test_imaplib_enables_nothing_unknown(gateway: Running) -> None:
    def enable() -> tuple[str, Any]:
        client = imap4(gateway)
        try:
            typ, _ = client.enable("X-NO-SUCH-THING")
            return typ, client.response("ENABLED")[1]
        finally:
            client.logout()

    typ, enabled = await in_thread(enable)

    assert typ == "OK"
    assert b"X-NO" not in (enabled[0] or b"")


async def test_imaplib_upgrades_to_tls(start: Callable[..., Any]) -> None:
    async with start() as gateway:
        await gateway.deliver(message())

        def upgrade() -> tuple[list[str], list[str], Any]:
            client = imaplib.IMAP4("localhost", gateway.port, timeout=20)
            before = list(client.capabilities)
            client.starttls(gateway.trusting())
            after = list(client.capabilities)
            client.login(ALICE, PASSWORD)
            count = client.select("INBOX")[1]
            client.logout()
            return before, after, count

        before, after, count = await in_thread(upgrade)

    assert "STARTTLS" in before
    assert "LOGINDISABLED" in before
    assert "AUTH=PLAIN" not in before
    assert "STARTTLS" not in after
    assert "LOGINDISABLED" not in after
    assert count == [b"1"]


async def test_imaplib_cannot_log_in_without_tls(start: Callable[..., Any]) -> None:
    async with start() as gateway:

        def attempt() -> None:
            client = imaplib.IMAP4("127.0.0.1", gateway.port, timeout=20)
            try:
                client.login(ALICE, PASSWORD)
            finally:
                client.shutdown()

        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            await in_thread(attempt)


async def test_imaplib_speaks_tls_from_the_start(start: Callable[..., Any]) -> None:
    async with start() as gateway:

        def log_in() -> str:
            context = gateway.trusting()
            client = imaplib.IMAP4_SSL(
                "localhost", gateway.tls_port, ssl_context=context, timeout=20
            )
            typ, _ = client.login(ALICE, PASSWORD)
            client.logout()
            return typ

        assert await in_thread(log_in) == "OK"


async def test_a_wrong_password_is_refused(gateway: Running) -> None:
    def attempt() -> None:
        with IMAPClient("127.0.0.1", gateway.port, ssl=False, timeout=20) as client:
            client.login(ALICE, "wrong")

    with pytest.raises(LoginError, match="wrong address or password"):
        await in_thread(attempt)


async def test_imapclient_identifies_itself(gateway: Running) -> None:
    def ask() -> Any:
        with client_of(gateway) as client:
            return client.id_({"name": "imapclient", "version": "4"})

    assert (await in_thread(ask))[0] == (b"name", b"Holub")


async def test_imapclient_asks_for_the_namespace(gateway: Running) -> None:
    def ask() -> Any:
        with client_of(gateway) as client:
            return client.namespace()

    found = await in_thread(ask)

    assert found.personal == (("", "/"),)
    assert found.other is None
    assert found.shared is None


async def test_imapclient_lists_mailboxes(gateway: Running) -> None:
    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client:
            client.create_folder("Projekte/Ärger & Glück")
            client.subscribe_folder("Projekte")
            listed = {name: flags for flags, _, name in client.list_folders()}
            top = {name for _, _, name in client.list_folders("", "%")}
            subscribed = {name for _, _, name in client.list_sub_folders()}
            client.rename_folder("Projekte", "Arbeit")
            renamed = {name for _, _, name in client.list_folders("Arbeit")}
            below = {name for _, _, name in client.list_folders("Arbeit/")}
            client.delete_folder("Arbeit/Ärger & Glück")
            special = client.find_special_folder(b"\\Sent")
            status = client.folder_status("INBOX", ["MESSAGES", "UIDNEXT", "UNSEEN"])
            return listed, top, subscribed, renamed, below, special, status

    listed, top, subscribed, renamed, below, special, status = await in_thread(work)

    assert {"INBOX", "Sent", "Projekte", "Projekte/Ärger & Glück"} <= set(listed)
    assert b"\\Sent" in listed["Sent"]
    assert b"\\HasChildren" in listed["Projekte"]
    assert b"\\HasNoChildren" in listed["Projekte/Ärger & Glück"]
    assert "Projekte" in top
    assert not any("/" in name for name in top)
    assert "Projekte" in subscribed
    assert "Arbeit" in renamed | below or "Arbeit/Ärger & Glück" in below
    assert special == "Sent"
    assert status == {b"MESSAGES": 0, b"UIDNEXT": 1, b"UNSEEN": 0}


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


async def test_imapclient_unselects(gateway: Running) -> None:
    await gateway.deliver(message(1))

    def work() -> list[int]:
        with client_of(gateway) as client:
            client.select_folder("INBOX")
            client.delete_messages([1])
            client.unselect_folder()
            client.select_folder("INBOX")
            return client.search("DELETED")

    assert await in_thread(work) == [1]


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
    delivered = time.monotonic()
    await gateway.deliver(message(1))
    committed = time.monotonic()
    told, at, found = await watching

    assert (1, b"EXISTS") in told
    assert found == [1]
    assert at - committed < 0.2, f"{at - delivered:.3f} s after the delivery began"


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


async def test_imaplib_lists_with_options(gateway: Running) -> None:
    await gateway.store.create(gateway.accounts[ALICE], "Work/Deep")
    await gateway.store.subscribe(gateway.accounts[ALICE], "Work", False)
    await gateway.store.subscribe(gateway.accounts[ALICE], "Work/Deep", True)
    await gateway.deliver(message(1))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            client._simple_command("LIST", "(SPECIAL-USE)", '""', '"*"')
            special = client.response("LIST")[1]
            client._simple_command("LIST", '""', '("INBOX" "Wo%")', "RETURN", "(STATUS (MESSAGES))")
            several, status = client.response("LIST")[1], client.response("STATUS")[1]
            client._simple_command("LIST", "(SUBSCRIBED RECURSIVEMATCH)", '""', '"Work"')
            return special, several, status, client.response("LIST")[1]
        finally:
            client.logout()

    special, several, status, above = await in_thread(work)

    assert {line.rsplit(b" ", 1)[1] for line in special} == {
        b"Archive", b"Drafts", b"Junk", b"Sent", b"Trash",
    }  # fmt: skip
    assert {line.rsplit(b" ", 1)[1] for line in several} == {b"INBOX", b"Work"}
    assert status == [b"INBOX (MESSAGES 1)", b"Work (MESSAGES 0)"]
    assert above == [b'(\\HasChildren) "/" Work ("CHILDINFO" ("SUBSCRIBED"))']


async def test_imapclient_asks_for_the_size_of_a_mailbox(gateway: Running) -> None:
    await gateway.deliver(message(1), message(22))

    def ask() -> Any:
        with client_of(gateway) as client:
            return client.folder_status("INBOX", ["SIZE"])

    assert await in_thread(ask) == {b"SIZE": len(message(1)) + len(message(22))}


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


async def test_curl_reads_a_message(gateway: Running) -> None:
    await gateway.deliver(message(5))
    url = f"imap://127.0.0.1:{gateway.port}/INBOX"

    code, text = await command("curl", "-sS", "--user", f"{ALICE}:{PASSWORD}", f"{url};UID=1")
    trace_code, trace = await command(
        "curl", "-sSv", "--login-options", "AUTH=PLAIN", "--user", f"{ALICE}:{PASSWORD}", url
    )

    assert code == 0, text
    assert text.encode().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") == message(5)
    assert trace_code == 0, trace
    assert re.search(r"> \S+ AUTHENTICATE PLAIN \S+", trace), trace


async def test_curl_appends_and_searches(gateway: Running, tmp_path: Path) -> None:
    (tmp_path / "new.eml").write_bytes(message(9))
    url, user = f"imap://127.0.0.1:{gateway.port}", f"{ALICE}:{PASSWORD}"

    code, text = await command(
        "curl", "-sS", "--user", user, "-T", str(tmp_path / "new.eml"), f"{url}/Drafts"
    )
    _, found = await command("curl", "-sS", "--user", user, f"{url}/Drafts?TEXT%20needle")

    assert code == 0, text
    assert found.strip() == "* SEARCH 1"


async def test_mbsync_synchronises_both_ways(gateway: Running, tmp_path: Path) -> None:
    await gateway.deliver(message(1), message(2))
    maildir = tmp_path / "maildir"
    maildir.mkdir()
    config = tmp_path / "mbsyncrc"
    # An escaped quote is how mbsync reads one.
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    config.write_text(
        f'IMAPAccount a\nHost 127.0.0.1\nPort {gateway.port}\nUser {ALICE}\nPass "{password}"\n'
        "SSLType None\nAuthMechs LOGIN\n\nIMAPStore remote\nAccount a\n\n"
        f"MaildirStore local\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n"
        "Channel c\nFar :remote:\nNear :local:\nPatterns *\nCreate Both\nExpunge Both\n"
        "SyncState *\n"
    )

    code, output = await command("mbsync", "-c", str(config), "-a")
    files = sorted((maildir / "INBOX").glob("*/*:2*")) + sorted((maildir / "INBOX/new").iterdir())
    new = maildir / "INBOX" / "cur" / "1.local.host:2,S"
    new.write_bytes(message(3).replace(b"\r\n", b"\n"))
    second_code, second = await command("mbsync", "-c", str(config), "-a")
    boxes = {box.name: box for box in await gateway.store.mailboxes(gateway.accounts[ALICE])}

    assert code == 0, output
    assert len({path.name for path in files}) == 2, output
    assert second_code == 0, second
    assert boxes["INBOX"].messages == 3
    assert boxes["INBOX"].unseen == 2


async def test_mutt_reads_and_saves_in_batch_mode(gateway: Running, tmp_path: Path) -> None:
    await gateway.deliver(message(1), message(2))
    rc = tmp_path / "muttrc"
    url = f"imap://127.0.0.1:{gateway.port}/"
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    rc.write_text(
        f'set imap_user="{ALICE}"\nset imap_pass="{password}"\nset folder="{url}"\n'
        "set ssl_starttls=no\nset ssl_force_tls=no\nset confirmappend=no\nset delete=yes\n"
        "set quit=yes\nset sleep_time=0\nset timeout=1\n"
        f"set imap_condstore=yes\nset header_cache={tmp_path}/cache\n"
        'push "<delete-pattern>~b 2<enter><sync-mailbox><quit>"\n'
    )
    typescript = tmp_path / "screen"
    mutt = shlex.join(["mutt", "-n", "-F", str(rc), "-f", f"{url}INBOX"])

    code, output = await command(
        "script", "-qec", mutt, str(typescript), TERM="xterm", HOME=str(tmp_path)
    )
    boxes = {box.name: box for box in await gateway.store.mailboxes(gateway.accounts[ALICE])}

    assert code == 0, output
    assert boxes["INBOX"].messages == 1, output


async def test_one_account_never_sees_what_another_owns(gateway: Running) -> None:
    await gateway.deliver(message(1), to="Archive")

    def work() -> tuple[Any, ...]:
        with client_of(gateway, BOB) as client:
            client.select_folder("Archive")
            return client.search("ALL"), client.folder_status("Archive", ["MESSAGES"])

    found, status = await in_thread(work)

    assert found == []
    assert status == {b"MESSAGES": 0}
