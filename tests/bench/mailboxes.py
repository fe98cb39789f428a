"""Reading one mailbox, Holub beside Dovecot: `python -m tests.bench.mailboxes [--messages N]`.

Both serve the same messages to the same client on this machine.  Each figure is the median of
some runs; `first` is with a server that was just started (Dovecot: without its index files).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.dovecot import dovecot_config
from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.postgres import Postgres
from tests.servers.process import ServerProcess, accepts, find_program, free_ports

_WORDS = [
    "pigeon",
    "basket",
    "letter",
    "harbour",
    "winter",
    "garden",
    "silver",
    "engine",
    "river",
    "window",
]


def message(number: int) -> bytes:
    """About 4 KB, each one different."""
    word = _WORDS[number % len(_WORDS)]
    head = (
        f"From: Sender {number % 97} <sender{number % 97}@other.test>\r\n"
        f"To: alice@{DOMAIN}\r\nSubject: {word} report {number // 7}\r\n"
        f"Date: Mon, 2 Feb 2026 {number // 3600 % 24:02d}:{number // 60 % 60:02d}:"
        f"{number % 60:02d} +0000\r\nMessage-ID: <{number}@other.test>\r\n"
        + (f"In-Reply-To: <{number - 1}@other.test>\r\n" if number % 7 else "")
        + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    ).encode()
    noise = hashlib.sha256(str(number).encode()).hexdigest()
    line = f"{noise} {word} {number}\r\n".encode()
    tail = b"--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nx\r\n--b--\r\n"
    return head + line * 42 + (b"needle-in-a-stack\r\n" if number % 1000 == 500 else b"") + tail


class Connection:
    """An IMAP client that does nothing but send, and read up to the tagged response."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(65536)
        self.ask(f'LOGIN {user} "{password}"')

    def ask(self, command: str) -> bytes:
        """The whole answer; an error when it is not OK."""
        self.socket.sendall(f"t1 {command}\r\n".encode())
        return self.answer()

    def answer(self) -> bytes:
        """Up to the tagged response."""
        parts: list[bytes] = []
        tail = b""
        while True:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the server hung up")
            parts.append(data)
            tail = (tail + data)[-4096:]
            start = tail.rfind(b"\r\nt1 ") + 2 if b"\r\nt1 " in tail else 0
            if tail.endswith(b"\r\n") and tail.startswith(b"t1 ", start):
                if not tail.startswith(b"t1 OK", start):
                    raise RuntimeError(tail[start:].decode("ascii", "replace"))
                return b"".join(parts)

    def append(self, contents: list[bytes]) -> None:
        """One MULTIAPPEND."""
        literals = b" ".join(b"{%d+}\r\n%b" % (len(c), c) for c in contents)
        self.socket.sendall(b"t1 APPEND INBOX " + literals + b"\r\n")
        self.answer()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class DovecotSide:
    """Dovecot over a Maildir."""

    name = "dovecot"
    user = "alice"
    password = "bench"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        for name in ("mail", "run", "state"):
            (folder / name).mkdir(parents=True)
        shutil.chown(folder / "mail", "mail", "mail")
        text = dovecot_config(folder, self.port, self.password)
        (folder / "dovecot.conf").write_text(text)

    def start(self) -> None:
        """Start it."""
        command = [find_program("dovecot"), "-F", "-c", str(self._folder / "dovecot.conf")]
        self._process = ServerProcess(command, self._folder, log="dovecot.out")
        self._process.launch()
        self._process.wait_until(lambda: accepts(self.port), 30)

    def stop(self) -> None:
        """Stop it."""
        self._process.kill()

    def forget(self) -> None:
        """Throw away what it keeps beside the messages."""
        for path in (self._folder / "mail").rglob("dovecot.index*"):
            path.unlink()


class HolubSide:
    """The imap role over the embedded backends, or over PostgreSQL."""

    name = "holub"
    password = PASSWORD

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        url = {"HOLUB_DATABASE_URL": postgres.url(postgres.new_database())} if postgres else {}
        self._holub = Holub(folder, url)
        self._holub.prepare("alice")
        self.user = f"alice@{DOMAIN}"
        self.port = self._holub.ports["imap"]

    def start(self) -> None:
        """Start it."""
        self._holub.start("imap")

    def stop(self) -> None:
        """Stop it."""
        self._holub.kill()

    def forget(self) -> None:
        """Nothing outlives the process but rows."""


Side = DovecotSide | HolubSide
_OVERVIEW = "FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE)"


def fill(side: Side, count: int) -> None:
    """Append the messages."""
    connection = Connection(side.port, side.user, side.password)
    for start in range(0, count, 50):
        connection.append([message(n) for n in range(start, min(start + 50, count))])
    connection.close()


def _session(side: Side, *commands: str) -> float:
    """Seconds for these commands; not for LOGIN, which hashes a password on purpose slowly."""
    connection = Connection(side.port, side.user, side.password)
    begun = time.perf_counter()
    for command in commands:
        connection.ask(command)
    took = time.perf_counter() - begun
    connection.close()
    return took


def measures(runs: int) -> dict[str, Callable[[Side], list[float]]]:
    """What is measured, in its order."""

    def first(side: Side) -> list[float]:
        took = []
        for _ in range(3):
            side.stop()
            side.forget()
            side.start()
            took.append(_session(side, "SELECT INBOX", _OVERVIEW))
        return took

    def warm(*commands: str) -> Callable[[Side], list[float]]:
        return lambda side: [_session(side, "SELECT INBOX", *commands) for _ in range(runs)]

    return {
        "overview, first": first,
        "overview, again": warm(_OVERVIEW),
        "UID FLAGS": warm("FETCH 1:* (UID FLAGS)"),
        "SEARCH UNSEEN": warm("SEARCH UNSEEN"),
        "SEARCH SINCE": warm("SEARCH SINCE 1-Jan-2026"),
        "SEARCH SUBJECT": warm("SEARCH SUBJECT harbour"),
        "SEARCH FROM": warm("SEARCH FROM sender55"),
        "SEARCH HEADER": warm("SEARCH HEADER Message-ID <77@other.test>"),
        "SEARCH BODY": warm("SEARCH BODY needle-in-a"),
        "SORT DATE": warm("SORT (DATE) UTF-8 ALL"),
        "SORT SUBJECT": warm("SORT (SUBJECT) UTF-8 ALL"),
        "THREAD REFERENCES": warm("THREAD REFERENCES UTF-8 ALL"),
        "BODY.PEEK[]": warm("FETCH 1:* BODY.PEEK[]"),
        "STORE +FLAGS": warm(
            "STORE 1:* +FLAGS.SILENT (\\Flagged)", "STORE 1:* -FLAGS.SILENT (\\Flagged)"
        ),
    }


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--postgres", action="store_true", help="Holub over PostgreSQL")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holub-mailboxes-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = Postgres(folder / "pg") if arguments.postgres else None
        if postgres is not None:
            (folder / "pg").mkdir()
            postgres.start()
        sides: list[Side] = [HolubSide(folder / "holub", postgres)]
        if os.getuid() == 0 and shutil.which("dovecot"):
            sides.append(DovecotSide(folder / "dovecot"))
        found: dict[str, dict[str, float]] = {}
        for side in sides:
            side.start()
            try:
                begun = time.perf_counter()
                fill(side, arguments.messages)
                rate = arguments.messages / (time.perf_counter() - begun)
                found.setdefault("MULTIAPPEND, messages/s", {})[side.name] = rate
                for what, measure in measures(arguments.runs).items():
                    if arguments.only not in what:
                        continue
                    try:
                        took = statistics.median(measure(side)) * 1000
                    except RuntimeError as error:
                        print(f"{side.name}: {what}: {error}")
                        continue
                    found.setdefault(what, {})[side.name] = took
            finally:
                side.stop()
        if postgres is not None:
            postgres.stop()
        _print(found, arguments.messages)


def _print(found: dict[str, dict[str, float]], messages: int) -> None:
    version = subprocess.run(["dovecot", "--version"], capture_output=True, text=True, check=False)
    print(f"\n{messages} messages; Dovecot {version.stdout.strip()}; medians in ms\n")
    print("| operation | holub | dovecot | ratio |\n|---|---|---|---|")
    for what, by in found.items():
        ours, theirs = by.get("holub", 0.0), by.get("dovecot", 0.0)
        ratio = f"{theirs / ours:.2f}" if ours and theirs else "-"
        print(f"| {what} | {ours:.1f} | {theirs:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
