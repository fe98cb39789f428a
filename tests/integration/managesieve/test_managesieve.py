"""ManageSieve with sieve-connect, and by hand."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from libs.protocols.sieve.script import EXTENSIONS
from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed

_numbers = itertools.count()
SCRIPT = 'require "fileinto";\r\nfileinto "Archive";\r\n'


@pytest.fixture
def name() -> str:
    return f"user{next(_numbers)}"


class Talk:
    """A client by hand: lines, and answers up to OK, NO or BYE."""

    def __init__(self, holub: Holub) -> None:
        self.socket = socket.create_connection(("localhost", holub.ports["managesieve"]), 20)
        self.file = self.socket.makefile("rb")
        self.greeting = self.answer()

    def say(self, data: bytes) -> list[bytes]:
        self.socket.sendall(data)
        return self.answer()

    def answer(self) -> list[bytes]:
        found: list[bytes] = []
        while not found or not found[-1].startswith((b"OK", b"NO", b"BYE")):
            line = self.file.readline()
            if not line:
                break
            found.append(line.rstrip(b"\r\n"))
        return found

    def log_in(self, name: str, password: str = PASSWORD) -> list[bytes]:
        plain = f"\0{name}@{DOMAIN}\0{password}".encode()
        return self.say(b'AUTHENTICATE "PLAIN" "%b"\r\n' % base64.b64encode(plain))

    def tls(self, holub: Holub) -> list[bytes]:
        self.file.close()
        self.socket = holub.tls().wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        return self.answer()


def sieve_connect(holub: Holub, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The program itself, over TLS."""
    return subprocess.run(
        [
            needed("sieve-connect"),
            "--server",
            "localhost",
            "--nosrv",
            "--port",
            str(holub.ports["managesieve"]),
            "--user",
            f"{name}@{DOMAIN}",
            "--passwordfd",
            "0",
            "--tlscafile",
            str(holub.ca),
            *words,
        ],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        timeout=40,
    )


def test_sieve_connect_puts_activates_lists_gets_and_removes(
    holub: Holub, name: str, tmp_path: Path
) -> None:
    file, back = tmp_path / "main.sieve", tmp_path / "back.sieve"
    file.write_bytes(SCRIPT.encode())

    for words in (
        ("--upload", "--localsieve", str(file), "--remotesieve", "main"),
        ("--activate", "--remotesieve", "main"),
        ("--download", "--remotesieve", "main", "--localsieve", str(back)),
    ):
        done = sieve_connect(holub, name, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = sieve_connect(holub, name, "--list")
    off = sieve_connect(holub, name, "--deactivate")
    gone = sieve_connect(holub, name, "--delete", "--remotesieve", "main")

    assert '"main" ACTIVE' in listed.stdout
    assert back.read_bytes() == file.read_bytes()
    assert off.returncode == 0, off.stderr
    assert gone.returncode == 0, gone.stderr
    assert json.loads(holub.must("sieve", "list", f"{name}@{DOMAIN}", "--json")) == []


def test_sieve_connect_is_told_where_a_script_is_wrong(
    holub: Holub, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "main.sieve"
    file.write_text('keep;\nfileinto "x";\n')

    done = sieve_connect(
        holub, name, "--upload", "--localsieve", str(file), "--remotesieve", "main"
    )

    assert done.returncode != 0
    assert "line 2, column 1" in done.stdout + done.stderr


def test_what_is_announced_is_what_there_is(holub: Holub, name: str) -> None:
    talk = Talk(holub)

    said = dict(line.partition(b" ")[::2] for line in talk.greeting)

    assert said[b'"SIEVE"'].strip(b'"').decode().split() == sorted(EXTENSIONS)
    assert b"PLAIN" in said[b'"SASL"']
    assert b'"STARTTLS"' in said
    assert said[b'"VERSION"'] == b'"1.0"'
    assert talk.log_in(name)[-1].startswith(b"OK")
    assert f'"OWNER" "{name}@{DOMAIN}"'.encode() in talk.say(b"CAPABILITY\r\n")


def test_a_session_from_the_standard(holub: Holub, name: str) -> None:
    talk = Talk(holub)
    assert talk.log_in(name, "wrong")[-1].startswith(b"NO")
    assert talk.log_in(name)[-1].startswith(b"OK")
    put = b'PUTSCRIPT "%b" {5+}\r\nkeep;\r\n'

    assert talk.say(b'HAVESPACE "a" 100\r\n') == [b"OK"]
    assert talk.say(b'HAVESPACE "a" 9999999\r\n')[0].startswith(b"NO (QUOTA/MAXSIZE)")
    assert talk.say(put % b"a") == [b"OK"]
    assert talk.say(put % b"b") == [b"OK"]
    assert talk.say(b"CHECKSCRIPT {4+}\r\nkee;\r\n")[0].startswith(b'NO "line 1, column 1')
    assert talk.say(b'PUTSCRIPT "a" {2+}\r\n\xff;\r\n')[0].startswith(b"NO")
    assert talk.say(b'SETACTIVE "a"\r\n') == [b"OK"]
    assert talk.say(b"LISTSCRIPTS\r\n") == [b'"a" ACTIVE', b'"b"', b"OK"]
    assert talk.say(b'DELETESCRIPT "a"\r\n')[0].startswith(b"NO (ACTIVE)")
    assert talk.say(b'SETACTIVE "z"\r\n')[0].startswith(b"NO (NONEXISTENT)")
    assert talk.say(b'RENAMESCRIPT "a" "b"\r\n')[0].startswith(b"NO (ALREADYEXISTS)")
    assert talk.say(b'RENAMESCRIPT "a" "c"\r\n') == [b"OK"]
    assert talk.say(b'SETACTIVE ""\r\n') == [b"OK"]
    assert talk.say(b'SETACTIVE ""\r\n') == [b"OK"]
    assert talk.say(b'GETSCRIPT "c"\r\n') == [b"{5}", b"keep;", b"OK"]
    assert talk.say(b'GETSCRIPT "a"\r\n')[0].startswith(b"NO (NONEXISTENT)")
    assert talk.say(b'DELETESCRIPT "c"\r\n') == [b"OK"]
    assert talk.say(b"LOGOUT\r\n")[0].startswith(b"OK")
    assert talk.file.read() == b""


def test_changes_are_in_the_audit(holub: Holub, name: str) -> None:
    talk = Talk(holub)
    talk.log_in(name)
    talk.say(b'PUTSCRIPT "a" {5+}\r\nkeep;\r\n')

    rows = json.loads(holub.must("audit", "list", "--json"))

    assert ("script.put", f"{name}@{DOMAIN}", f"{name}@{DOMAIN} a") in [
        (row["action"], row["actor"], row["object"]) for row in rows
    ]


def test_tls_forgets_what_was_said_in_plain_text(holub: Holub, name: str) -> None:
    """S3: a command that somebody put in front of the handshake is not carried out."""
    talk = Talk(holub)
    talk.socket.sendall(b"STARTTLS\r\nLOGOUT\r\n")
    assert talk.answer()[-1].startswith(b"OK")

    greeting = talk.tls(holub)

    assert greeting[-1].startswith(b"OK")
    assert not any(line.startswith(b'"STARTTLS"') for line in greeting)
    assert talk.log_in(name)[-1].startswith(b"OK")


def test_passwords_need_tls_from_elsewhere(tmp_path: Path) -> None:
    holub = Holub(tmp_path, {"HOLUB_MANAGESIEVE_ALLOW_PLAIN_LOGIN": "false"})
    holub.prepare("alice")
    holub.start("managesieve")
    try:
        talk = Talk(holub)
        assert b'"SASL" ""' in talk.greeting
        assert talk.log_in("alice")[0].startswith(b"NO (ENCRYPT-NEEDED)")
        talk.say(b"STARTTLS\r\n")
        assert any(line.startswith(b'"SASL" "') and b"PLAIN" in line for line in talk.tls(holub))
        assert talk.log_in("alice")[-1].startswith(b"OK")
        # A stop lets the client know, and does not wait for it.
        assert holub.stop() == [0]
        assert talk.file.readline().startswith(b"BYE")
    finally:
        holub.kill()


def test_guessing_passwords_ends_the_connection(holub: Holub, name: str) -> None:
    talk = Talk(holub)

    answers = [talk.log_in(name, f"wrong{n}") for n in range(5)]

    assert all(answer[0].startswith(b"NO") for answer in answers)
    assert talk.answer()[0].startswith(b"BYE")


@pytest.mark.parametrize(
    "data",
    [b"%s\r\n" * 40, b"x" * 30_000, b'AUTHENTICATE "PLAIN" {9999999999+}\r\n', b"\0\r\n" * 40],
)
def test_nonsense_ends_the_connection_and_nothing_else(
    holub: Holub, name: str, data: bytes
) -> None:
    talk = Talk(holub)
    talk.socket.sendall(data)

    rest = talk.file.read()

    assert b"BYE" in rest
    assert Talk(holub).log_in(name)[-1].startswith(b"OK")


def test_tls_of_one_who_does_not_trust_us_is_no_harm(holub: Holub, name: str) -> None:
    talk = Talk(holub)
    talk.say(b"STARTTLS\r\n")
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(talk.socket, server_hostname="localhost")

    assert Talk(holub).log_in(name)[-1].startswith(b"OK")
