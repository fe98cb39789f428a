"""IMAP with clients that we did not write, against the platform as one process."""

from __future__ import annotations

import imaplib
import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed

MESSAGE = (
    b"From: Bob <bob@example.test>\r\nTo: alice@example.test\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <m1@example.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nneedle in a haystack\r\n"
    b"--b\r\nContent-Type: application/octet-stream; name=a.bin\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b--\r\n"
)


@pytest.fixture
def client(holub: Holub) -> Iterator[IMAPClient]:
    """Logged in as alice, with an empty INBOX."""
    client = IMAPClient("localhost", holub.ports["imap"], ssl=False, timeout=20)
    client.login(f"alice@{DOMAIN}", PASSWORD)
    client.select_folder("INBOX")
    client.delete_messages(client.search())
    client.expunge()
    yield client
    client.logout()


def test_imaplib_reads_a_message(holub: Holub) -> None:
    with holub.imap("bob") as client:
        assert client.append("INBOX", "(\\Seen)", None, MESSAGE)[0] == "OK"
        assert client.select("INBOX")[0] == "OK"
        _, parts = client.fetch("*", "(FLAGS RFC822.SIZE BODY.PEEK[])")

    assert parts[0][1] == MESSAGE
    assert b"\\Seen" in parts[0][0]
    assert b"RFC822.SIZE %d" % len(MESSAGE) in parts[0][0]


def test_imapclient_appends(client: IMAPClient) -> None:
    answer = client.append("INBOX", MESSAGE, flags=(b"\\Flagged", b"$Label1"))
    assert b"APPENDUID" in answer

    (uid,) = client.search("FLAGGED")
    found = client.fetch([uid], ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE"])[uid]

    assert set(found[b"FLAGS"]) == {b"\\Flagged", b"$Label1"}
    assert found[b"ENVELOPE"].message_id == b"<m1@example.test>"
    assert found[b"BODYSTRUCTURE"].is_multipart


def test_imapclient_reads_parts_and_ranges(client: IMAPClient) -> None:
    client.append("INBOX", MESSAGE)
    (uid,) = client.search()

    found = client.fetch(
        [uid],
        [
            "BODY.PEEK[1]",
            "BODY.PEEK[2.MIME]",
            "BODY.PEEK[HEADER.FIELDS (SUBJECT)]",
            "BODY.PEEK[]<5.10>",
        ],
    )[uid]

    assert found[b"BODY[1]"] == b"needle in a haystack"
    assert b"name=a.bin" in found[b"BODY[2.MIME]"]
    assert found[b"BODY[HEADER.FIELDS (SUBJECT)]"].startswith(b"Subject: ")
    assert found[b"BODY[]<5>"] == MESSAGE[5:15]


def test_imapclient_searches(client: IMAPClient) -> None:
    client.append("INBOX", MESSAGE)
    client.append("INBOX", b"Subject: other\r\n\r\nnothing\r\n", flags=(b"\\Seen",))
    first, second = client.search()

    assert client.search(["BODY", "NEEDLE"]) == [first]
    assert client.search(["SUBJECT", "Grüße"], "UTF-8") == [first]
    assert client.search(["NOT", "SUBJECT", "Grüße"], "UTF-8") == [second]
    assert client.search(["SEEN"]) == [second]
    assert client.search(["OR", "SEEN", "FROM", "bob"]) == [first, second]
    assert client.search(["SENTON", "24-Nov-2026"]) == [first]
    assert client.search(["LARGER", "100"]) == [first]
    assert client.search(["UID", f"{second}:*"]) == [second]


def test_imapclient_changes_flags_and_expunges(client: IMAPClient) -> None:
    for _ in range(3):
        client.append("INBOX", MESSAGE)
    uids = client.search()

    assert client.add_flags(uids[1], [b"\\Deleted"])[uids[1]] == (b"\\Deleted",)
    client.expunge()

    assert client.search() == [uids[0], uids[2]]


def test_imapclient_lists_mailboxes(client: IMAPClient) -> None:
    found = {name: flags for flags, _, name in client.list_folders()}

    assert {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"} <= set(found)
    assert b"\\Junk" in found["Junk"]
    assert b"\\HasNoChildren" in found["Junk"]


def test_imapclient_creates_renames_and_deletes_mailboxes(client: IMAPClient) -> None:
    client.create_folder("Früh/Spät")
    client.append("Früh/Spät", MESSAGE)
    client.rename_folder("Früh", "Tag & Nacht")

    assert client.folder_status("Tag & Nacht/Spät", ["MESSAGES", "UNSEEN"]) == {
        b"MESSAGES": 1,
        b"UNSEEN": 1,
    }
    client.delete_folder("Tag & Nacht/Spät")
    client.delete_folder("Tag & Nacht")
    assert not client.folder_exists("Tag & Nacht")


def test_imapclient_moves(client: IMAPClient) -> None:
    client.append("INBOX", MESSAGE)
    (uid,) = client.search()
    before = client.folder_status("Archive", ["MESSAGES"])[b"MESSAGES"]

    client.move([uid], "Archive")

    assert client.search() == []
    assert client.folder_status("Archive", ["MESSAGES"])[b"MESSAGES"] == before + 1


def test_imapclient_copies(client: IMAPClient) -> None:
    client.append("INBOX", MESSAGE, flags=(b"\\Answered",))
    (uid,) = client.search()

    client.copy([uid], "Drafts")

    client.select_folder("Drafts", readonly=True)
    assert client.search("ANSWERED")


def test_imapclient_unselects(client: IMAPClient) -> None:
    client.unselect_folder()

    with pytest.raises(client.Error):
        client.search()


def test_imapclient_identifies_itself(client: IMAPClient) -> None:
    assert b"Holub" in str(client.id_({"name": "tests"})).encode()


def test_imapclient_asks_for_the_namespace(client: IMAPClient) -> None:
    assert client.namespace().personal == (("", "/"),)


def test_imaplib_enables_nothing_unknown(holub: Holub) -> None:
    with holub.imap("bob") as client:
        assert client.enable("X-NOTHING")[0] == "OK"


def test_imapclient_is_told_of_new_mail_while_idle(holub: Holub, client: IMAPClient) -> None:
    client.idle()
    time.sleep(0.2)

    holub.send(b"Subject: now\r\n\r\nx\r\n", f"alice@{DOMAIN}")

    answers = client.idle_check(timeout=10)
    client.idle_done()
    assert (1, b"EXISTS") in answers


def test_imaplib_upgrades_to_tls(holub: Holub) -> None:
    client = imaplib.IMAP4("localhost", holub.ports["imap"], timeout=20)
    client.starttls(holub.tls())
    client.login(f"bob@{DOMAIN}", PASSWORD)

    assert client.noop()[0] == "OK"
    client.logout()


def test_imaplib_cannot_log_in_without_tls(holub: Holub, tmp_path: Path) -> None:
    strict = Holub(tmp_path, {"HOLUB_IMAP_ALLOW_PLAIN_LOGIN": "false"})
    strict.prepare("alice")
    strict.start("imap")
    try:
        client = imaplib.IMAP4("localhost", strict.ports["imap"], timeout=20)
        assert "LOGINDISABLED" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            client.login(f"alice@{DOMAIN}", PASSWORD)
    finally:
        strict.kill()


def test_a_wrong_password_is_refused(holub: Holub) -> None:
    client = imaplib.IMAP4("localhost", holub.ports["imap"], timeout=20)

    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(f"alice@{DOMAIN}", "wrong password")


def test_curl_reads_a_message(holub: Holub, client: IMAPClient) -> None:
    client.append("INBOX", MESSAGE)
    done = subprocess.run(
        [
            "curl",
            "-s",
            "--cacert",
            str(holub.ca),
            "-u",
            f"alice@{DOMAIN}:{PASSWORD}",
            f"imaps://localhost:{holub.ports['imaps']}/INBOX;MAILINDEX=1",
        ],
        capture_output=True,
        timeout=30,
    )

    assert done.stdout == MESSAGE


def test_mbsync_copies_a_mailbox_and_its_flags(
    holub: Holub, client: IMAPClient, tmp_path: Path
) -> None:
    needed("mbsync")
    client.append("INBOX", MESSAGE, flags=(b"\\Seen",))
    client.append("INBOX", b"Subject: two\r\n\r\nx\r\n")
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"IMAPAccount a\nHost localhost\nPort {holub.ports['imaps']}\nUser alice@{DOMAIN}\n"
        f'Pass "{PASSWORD}"\nSSLType IMAPS\nCertificateFile {holub.ca}\n\n'
        f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {tmp_path}/mail/\n"
        f"Inbox {tmp_path}/mail/INBOX\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX\n"
        "Create Near\nSync All\nExpunge Both\nSyncState *\n"
    )
    (tmp_path / "mail").mkdir()

    def sync() -> None:
        done = subprocess.run(
            ["mbsync", "-c", str(config), "c"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    sync()
    files = sorted((tmp_path / "mail" / "INBOX").glob("*/*"))
    assert len(files) == 2
    assert sum("S" in path.name.rsplit(",", 1)[-1] for path in files) == 1

    seen = next(path for path in files if "S" in path.name.rsplit(",", 1)[-1])
    seen.rename(seen.with_name(seen.name + "T"))
    sync()
    client.noop()
    assert len(client.search()) == 1


def test_offlineimap_synchronises_both_ways(
    holub: Holub, client: IMAPClient, tmp_path: Path
) -> None:
    needed("offlineimap")
    client.append("INBOX", MESSAGE, flags=(b"\\Seen",))
    config = tmp_path / "offlineimaprc"
    config.write_text(
        "[general]\naccounts = a\nui = quiet\n"
        f"metadata = {tmp_path}/state\n\n"
        "[Account a]\nlocalrepository = near\nremoterepository = far\n\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\n\n"
        "[Repository far]\ntype = IMAP\nremotehost = localhost\n"
        f"remoteport = {holub.ports['imaps']}\n"
        f"remoteuser = alice@{DOMAIN}\nremotepass = {PASSWORD}\nssl = yes\n"
        f"sslcacertfile = {holub.ca}\nauth_mechanisms = PLAIN\n"
        "folderfilter = lambda name: name in ('INBOX', 'Drafts')\n"
    )

    def sync() -> None:
        done = subprocess.run(
            ["offlineimap", "-c", str(config), "-o"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    sync()
    (first,) = (tmp_path / "mail" / "INBOX").glob("*/*:2,S")
    assert first.read_bytes().replace(b"\n", b"\r\n") == MESSAGE
    first.rename(first.with_name(f"{first.name.split(':')[0]}:2,FS"))
    (tmp_path / "mail" / "INBOX" / "cur" / "1.new.host:2,").write_bytes(b"Subject: two\n\nx\n")
    sync()
    client.noop()

    found = client.fetch(client.search(), ["FLAGS", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])
    assert [sorted(item[b"FLAGS"]) for item in found.values()] == [[b"\\Flagged", b"\\Seen"], []]


def test_mutt_shows_a_mailbox(holub: Holub, client: IMAPClient, tmp_path: Path) -> None:
    needed("mutt")
    client.append("INBOX", MESSAGE)
    rc = tmp_path / "muttrc"
    rc.write_text(
        f'set imap_user="alice@{DOMAIN}"\nset imap_pass="{PASSWORD}"\n'
        f"set ssl_ca_certificates_file={holub.ca}\nset ssl_starttls=no\nset mail_check=0\n"
        f"set certificate_file={holub.ca}\nset confirmappend=no\nset copy=no\n"
        f"set header_cache=\nset move=no\n"
    )
    target = tmp_path / "copied"

    keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{target}<enter>y<quit>y"
    command = [
        "mutt",
        *("-F", str(rc)),
        *("-f", f"imaps://localhost:{holub.ports['imaps']}/INBOX"),
        *("-e", f'push "{keys}"'),
    ]
    # mutt wants a terminal.
    subprocess.run(
        ["script", "-qec", shlex.join(command), "/dev/null"],
        timeout=60,
        env={"TERM": "xterm", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )

    assert b"needle in a haystack" in target.read_bytes()


def test_a_client_that_breaks_the_grammar_is_told_why_and_goes_on(holub: Holub) -> None:
    with holub.imap("bob") as client:
        with pytest.raises(imaplib.IMAP4.error, match="BAD"):
            client.fetch("1:*", "(NONSENSE") if client.select()[0] == "OK" else None
        assert client.noop()[0] == "OK"


def test_expunged_mail_is_put_back_from_the_command_line(holub: Holub) -> None:
    address = f"dave@{DOMAIN}"
    with holub.imap("dave") as client:
        client.append("Drafts", "(\\Deleted)", None, MESSAGE)
        client.select("Drafts")
        client.expunge()
    assert holub.count("dave", "Drafts") == 0

    (row,) = json.loads(holub.must("recoverable", "list", address, "--json"))
    assert (row["mailbox"], row["subject"]) == ("Drafts", "Grüße")
    assert holub.must("recoverable", "restore", address, "--hours", "1") == "1 messages are back\n"

    assert holub.contents("dave", "Drafts") == [MESSAGE]
    assert holub.command("recoverable", "restore", "nobody@x.test", "--hours", "1").returncode == 1
