"""Mailboxes: listing, creating, renaming, and what is told of them."""

from __future__ import annotations

import re
from typing import Any

from libs.common.accounts.registry import change_account
from tests.integration.imap.running import ALICE, BOB, Running, client_of, imap4, in_thread, message


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


async def test_one_account_never_sees_what_another_owns(gateway: Running) -> None:
    await gateway.deliver(message(1), to="Archive")

    def work() -> tuple[Any, ...]:
        with client_of(gateway, BOB) as client:
            client.select_folder("Archive")
            return client.search("ALL"), client.folder_status("Archive", ["MESSAGES"])

    found, status = await in_thread(work)

    assert found == []
    assert status == {b"MESSAGES": 0}


async def test_imaplib_creates_for_a_special_use(gateway: Running) -> None:
    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            made = client.xatom("CREATE", "Starred", "(USE (\\Flagged))")
            twice = client.xatom("CREATE", "Stars", "(USE (\\Flagged))")
            odd = client.xatom("CREATE", "Odd", "(USE (\\Nonsense))")
            client.xatom("LIST", '""', '"Sta%"', "RETURN", "(SPECIAL-USE)")
            return made, twice, odd, client.response("LIST")[1]
        finally:
            client.logout()

    made, twice, odd, listed = await in_thread(work)

    assert made[0] == "OK"
    assert (twice[0], odd[0]) == ("NO", "NO")
    assert b"[USEATTR]" in twice[1][0]
    assert listed == [b'(\\HasNoChildren \\Flagged) "/" Starred']


async def test_imaplib_annotates_mailboxes(gateway: Running) -> None:
    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            values = '(/private/comment "my own" /shared/comment "ours" /shared/x/y "deep")'
            assert client.xatom("SETMETADATA", "INBOX", values)[0] == "OK"
            assert client.xatom("SETMETADATA", '""', '(/shared/admin "me")')[0] == "OK"
            client.xatom("GETMETADATA", "INBOX", "(/private/comment /shared/missing)")
            some = client.response("METADATA")[1]
            client.xatom("GETMETADATA", "(DEPTH infinity)", "INBOX", "/shared")
            deep = client.response("METADATA")[1]
            short = client.xatom("GETMETADATA", "(MAXSIZE 4)", "INBOX", "/private/comment")
            client.xatom("SETMETADATA", "INBOX", "(/private/comment NIL)")
            client.untagged_responses.clear()
            client.xatom("GETMETADATA", "INBOX", "/private/comment")
            gone = client.response("METADATA")[1]
            client.xatom("GETMETADATA", '""', "/shared/admin")
            server = client.response("METADATA")[1]
            client.xatom("LIST", '""', "INBOX", "RETURN", "(METADATA (/shared/comment))")
            listed = client.response("METADATA")[1]
            large = client.xatom("SETMETADATA", "INBOX", f'(/private/a "{"x" * 20_000}")')
            return some, deep, short, gone, server, listed, large
        finally:
            client.logout()

    some, deep, short, gone, server, listed, large = await in_thread(work)

    assert some == [b'INBOX (/private/comment "my own")']
    assert deep == [b'INBOX (/shared/comment "ours" /shared/x/y "deep")']
    assert b"[METADATA LONGENTRIES 6]" in short[1][0]
    assert gone == [None]
    assert server == [b'"" (/shared/admin "me")']
    assert listed == [b'INBOX (/shared/comment "ours")']
    assert (large[0], b"MAXSIZE" in large[1][0]) == ("NO", True)


async def test_imapclient_asks_for_the_quota(gateway: Running) -> None:
    await gateway.deliver(message(1), message(2))
    await change_account(
        gateway.platform.database, ALICE, quota_octets=1024 * 100, quota_messages=10
    )

    def work() -> tuple[Any, ...]:
        with client_of(gateway) as client:
            roots, quotas = client.get_quota_root("INBOX")
            client.select_folder("INBOX")
            client.delete_messages([1])
            status = client.folder_status("INBOX", ["DELETED", "DELETED-STORAGE"])
            return roots, quotas, client.get_quota(), status

    roots, quotas, same, status = await in_thread(work)

    assert roots.quota_roots == [""]
    assert [(q.resource, q.usage, q.limit) for q in quotas] == [
        ("STORAGE", 1, 100),
        ("MESSAGE", 2, 10),
    ]
    assert same == quotas
    assert status == {b"DELETED": 1, b"DELETED-STORAGE": len(message(1))}


async def test_an_append_over_quota_is_refused(gateway: Running) -> None:
    await change_account(gateway.platform.database, ALICE, quota_messages=1)

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            return [client.append("Sent", None, None, message(n)) for n in range(2)]
        finally:
            client.logout()

    first, second = await in_thread(work)

    assert first[0] == "OK"
    assert second[0] == "NO"
    assert b"[OVERQUOTA]" in second[1][0]


async def test_imaplib_recognises_objects(gateway: Running) -> None:
    await gateway.deliver(message(1), message(1))

    def work() -> tuple[Any, ...]:
        client = imap4(gateway)
        try:
            made = client.xatom("CREATE", "Work")[1][0]
            status = client.status("Work", "(MAILBOXID)")[1][0]
            client.rename("Work", "Play")
            renamed = client.status("Play", "(MAILBOXID)")[1][0]
            client.delete("Play")
            again = client.xatom("CREATE", "Work")[1][0]
            client.select("INBOX")
            opened = client.untagged_responses.get("MAILBOXID")
            client.copy("1", "Archive")
            _, ids = client.fetch("1:2", "(EMAILID THREADID)")
            client.select("Archive")
            _, copied = client.fetch("1", "(EMAILID)")
            email_id = copied[0].split(b"(")[2].rstrip(b")").decode()
            found = client.search(None, "EMAILID", email_id)[1]
            return made, status, renamed, again, opened, ids, copied, found
        finally:
            client.logout()

    made, status, renamed, again, opened, ids, copied, found = await in_thread(work)

    identifier = re.search(rb"MAILBOXID \((\S+)\)", made)[1]
    assert b"MAILBOXID (%b)" % identifier in status
    assert b"MAILBOXID (%b)" % identifier in renamed
    assert identifier not in again
    assert opened
    emails = [re.search(rb"EMAILID \((\S+)\) THREADID NIL", line)[1] for line in ids]
    assert emails[0] != emails[1]
    assert emails[0] in copied[0]
    assert found == [b"1"]
