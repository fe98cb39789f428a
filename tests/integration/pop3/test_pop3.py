"""POP3 with clients that we did not write."""

from __future__ import annotations

import itertools
import poplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed

_numbers = itertools.count()
MESSAGES = [
    b"Subject: one\r\n\r\nfirst\r\n.a dot\r\n..\r\n",
    b"Subject: two\r\n\r\n" + b"a line\r\n" * 40_000,
    b"Subject: three\r\n\r\nthird\r\n",
]


@pytest.fixture
def name(holub: Holub) -> str:
    """An account with three messages."""
    name = f"user{next(_numbers)}"
    with holub.imap(name) as client:
        for content in MESSAGES:
            assert client.append("INBOX", None, None, content)[0] == "OK"
    return name


def pop3(holub: Holub, name: str) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", holub.ports["pop3"], timeout=20)
    client.user(f"{name}@{DOMAIN}")
    client.pass_(PASSWORD)
    return client


def fetched(client: poplib.POP3, number: int) -> bytes:
    return b"\r\n".join(client.retr(number)[1]) + b"\r\n"


def test_poplib_reads_messages_octet_for_octet(holub: Holub, name: str) -> None:
    client = pop3(holub, name)

    assert client.stat() == (3, sum(map(len, MESSAGES)))
    assert [line.split()[1] for line in client.list()[1]] == [
        str(len(content)).encode() for content in MESSAGES
    ]
    assert [fetched(client, n) for n in (1, 2, 3)] == MESSAGES
    assert client.top(1, 1)[1] == [b"Subject: one", b"", b"first"]
    client.quit()


def test_deleting_takes_effect_at_quit(holub: Holub, name: str) -> None:
    client = pop3(holub, name)
    client.dele(1)
    with pytest.raises(poplib.error_proto, match="no such message"):
        client.retr(1)
    assert client.stat()[0] == 2
    client.rset()
    client.dele(2)
    client.quit()

    with holub.imap(name) as imap:
        imap.select("INBOX")
        assert imap.uid("SEARCH", "ALL")[1] == [b"1 3"]


def test_without_quit_nothing_is_deleted(holub: Holub, name: str) -> None:
    client = pop3(holub, name)
    client.dele(1)
    client.close()
    time.sleep(0.2)

    assert holub.count(name) == 3


def test_ids_stay_the_same_and_are_each_their_own(holub: Holub, name: str) -> None:
    client = pop3(holub, name)
    before = client.uidl()[1]
    client.dele(2)
    client.quit()
    client = pop3(holub, name)
    after = client.uidl()[1]
    client.quit()

    ids = [line.split()[1] for line in before]
    assert len(set(ids)) == 3
    assert [line.split()[1] for line in after] == [ids[0], ids[2]]


def test_a_message_that_imap_expunged_is_missed_only_when_it_is_asked_for(
    holub: Holub, name: str
) -> None:
    client = pop3(holub, name)
    with holub.imap(name) as imap:
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()

    with pytest.raises(poplib.error_proto, match="no such message"):
        client.retr(1)
    assert fetched(client, 3) == MESSAGES[2]
    client.dele(1)
    client.quit()
    assert holub.count(name) == 2


def test_capabilities_are_as_they_are_told(holub: Holub, name: str) -> None:
    client = poplib.POP3("localhost", holub.ports["pop3"], timeout=20)
    before = client.capa()
    client.stls(holub.tls())
    after = client.capa()
    client.user(f"{name}@{DOMAIN}")
    client.pass_(PASSWORD)

    assert {"TOP", "UIDL", "PIPELINING", "RESP-CODES", "STLS"} <= set(before)
    assert "STLS" not in after
    assert {"PLAIN", "SCRAM-SHA-256"} <= set(after["SASL"])
    assert client.stat()[0] == 3
    client.quit()


def test_pop3s_is_tls_from_the_start(holub: Holub, name: str) -> None:
    client = poplib.POP3_SSL("localhost", holub.ports["pop3s"], context=holub.tls(), timeout=20)
    client.user(f"{name}@{DOMAIN}")
    client.pass_(PASSWORD)
    assert client.stat()[0] == 3
    client.quit()


def test_passwords_need_tls(holub: Holub, tmp_path: Path) -> None:
    strict = Holub(tmp_path, {"HOLUB_POP3_ALLOW_PLAIN_LOGIN": "false"})
    strict.prepare("erin")
    strict.start("pop3")
    try:
        client = poplib.POP3("localhost", strict.ports["pop3"], timeout=20)
        assert "USER" not in client.capa()
        client.user(f"erin@{DOMAIN}")
        with pytest.raises(poplib.error_proto, match="STLS"):
            client.pass_(PASSWORD)
        client.stls(strict.tls())
        client.user(f"erin@{DOMAIN}")
        client.pass_(PASSWORD)
        client.quit()
    finally:
        assert strict.stop() == [0]


def test_a_wrong_password_is_refused_and_not_for_ever(holub: Holub) -> None:
    client = poplib.POP3("127.0.0.1", holub.ports["pop3"], timeout=20)
    for _ in range(5):
        client.user(f"user1@{DOMAIN}")
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_("wrong")
    with pytest.raises((poplib.error_proto, OSError)):
        client.noop()


def test_what_is_injected_before_tls_is_thrown_away(holub: Holub) -> None:
    with socket.create_connection(("localhost", holub.ports["pop3"]), timeout=20) as plain:
        plain.recv(1000)
        plain.sendall(b"STLS\r\nCAPA\r\n")
        assert plain.recv(1000).startswith(b"+OK")
        with holub.tls().wrap_socket(plain, server_hostname="localhost") as secure:
            secure.settimeout(0.5)
            with pytest.raises((TimeoutError, ssl.SSLError)):
                secure.recv(1000)


def test_pipelined_commands_are_answered_in_one_go(holub: Holub, name: str) -> None:
    with socket.create_connection(("localhost", holub.ports["pop3"]), timeout=20) as client:
        client.recv(1000)
        client.sendall(
            f"USER {name}@{DOMAIN}\r\nPASS {PASSWORD}\r\nSTAT\r\nTOP 3 0\r\nQUIT\r\n".encode()
        )
        answer = b""
        while data := client.recv(65536):
            answer += data

    assert answer.splitlines()[2] == b"+OK 3 %d" % sum(map(len, MESSAGES))
    assert answer.endswith(b"Subject: three\r\n\r\n.\r\n+OK goodbye\r\n")


def test_curl_lists_and_reads(holub: Holub, name: str) -> None:
    url = f"pop3://localhost:{holub.ports['pop3']}/"
    command = ["curl", "-sS", "--user", f"{name}@{DOMAIN}:{PASSWORD}"]

    listed = subprocess.run([*command, url], capture_output=True, timeout=30, check=True)
    read = subprocess.run([*command, f"{url}1"], capture_output=True, timeout=30, check=True)

    assert listed.stdout.split() == [
        word for n, c in enumerate(MESSAGES, 1) for word in (b"%d" % n, b"%d" % len(c))
    ]
    assert read.stdout == MESSAGES[0]


def test_getmail_fetches_once_and_keeps(holub: Holub, name: str, tmp_path: Path) -> None:
    program = needed("getmail")
    box = tmp_path / "box"
    (tmp_path / "getmailrc").write_text(
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = localhost\n"
        f"port = {holub.ports['pop3']}\nusername = {name}@{DOMAIN}\npassword = {PASSWORD}\n"
        "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
        f'arguments = ("-c", "cat >> {box}")\n[options]\nread_all = false\n'
        "delivered_to = false\nreceived = false\n"
    )
    command = [program, f"--getmaildir={tmp_path}", "--rcfile=getmailrc"]

    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    assert box.read_bytes().count(b"Subject: ") == 3
    assert holub.count(name) == 3


def test_fetchmail_takes_everything(holub: Holub, name: str, tmp_path: Path) -> None:
    program = needed("fetchmail")
    box = tmp_path / "box"
    rc = tmp_path / "fetchmailrc"
    rc.write_text(
        f'poll localhost service {holub.ports["pop3"]} proto pop3 uidl user "{name}@{DOMAIN}"'
        f' password "{PASSWORD}" is root here sslproto "" no keep mda "cat >> {box}"\n'
    )
    rc.chmod(0o600)
    done = subprocess.run(
        [program, "-f", str(rc), "-i", str(tmp_path / "ids"), "--pidfile", str(tmp_path / "pid")],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert box.read_bytes().count(b"Subject: ") == 3
    assert holub.count(name) == 0


def test_mpop_fetches_over_tls_with_pipelining(holub: Holub, name: str, tmp_path: Path) -> None:
    program = needed("mpop")
    maildir = tmp_path / "mail"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    rc = tmp_path / "mpoprc"
    rc.write_text(
        f"account a\nhost localhost\nport {holub.ports['pop3']}\nuser {name}@{DOMAIN}\n"
        f'password "{PASSWORD}"\ntls on\ntls_starttls on\ntls_trust_file {holub.ca}\nauth plain\n'
        f"pipelining on\nkeep off\ndelivery maildir {maildir}\nuidls_file {tmp_path}/uidls\n"
        "account default : a\n"
    )
    rc.chmod(0o600)

    done = subprocess.run(
        [program, "-C", str(rc)], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((maildir / "new").iterdir())) == 3
    assert holub.count(name) == 0
