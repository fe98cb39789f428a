"""What can be seen from outside after a run: by IMAP, by SQL, at the outbound sink."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import imaplib
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.chaos.content import MARKER
from tests.chaos.sink import Taken
from tests.chaos.supervisor import Death

_FINAL = re.compile(
    rb"^Final-Recipient:[^;\r\n]*;\s*<?([^>\s]+)>?\s*$", re.IGNORECASE | re.MULTILINE
)
_AT_ONCE = 20
imaplib._MAXLINE = 10_000_000  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Copy:
    """One message in one mailbox, as IMAP gives it."""

    account: str
    mailbox: str
    uid: int
    run: str
    seq: int
    """0: it is none of ours."""
    sha256: str
    """Of the content, in hex: what follows the prefix."""
    prefix: bytes = b""
    bounced: tuple[str, ...] = ()
    """The recipients that a DSN names; empty for other messages."""


@dataclass(slots=True)
class Evidence:
    """All sinks of a run."""

    copies: list[Copy] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    """(account, mail_id) of each mailbox row, by SQL."""
    outcomes: dict[tuple[str, str], str] = field(default_factory=dict)
    """State of each (mail_id, recipient)."""
    quarantined: set[tuple[str, str]] = field(default_factory=set)
    deferred: dict[tuple[str, str], str] = field(default_factory=dict)
    """Last reply of each (mail_id, recipient) that waits."""
    parked: list[tuple[str, str, str]] = field(default_factory=list)
    """(queue, mail_id, reason)."""
    outbox: int = 0
    leases: int = 0
    swept: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    fsck: list[str] = field(default_factory=list)
    """What `holub fsck` complains of."""
    deaths: list[Death] = field(default_factory=list)
    outages: int = 0
    """Times that a backend was taken away."""


def read_copy(account: str, mailbox: str, uid: int, raw: bytes) -> Copy:
    """What a message is: one of ours with its prefix cut off, a DSN, or a stranger."""
    head = raw.partition(b"\r\n\r\n")[0]
    if b"multipart/report" in head.lower():
        final = tuple(address.decode("utf-8", "replace") for address in _FINAL.findall(raw))
        return Copy(account, mailbox, uid, "", 0, "", head, final or ("?",))
    marker = MARKER.search(raw[: len(head) + 2])
    if marker is None:
        return Copy(account, mailbox, uid, "", 0, hashlib.sha256(raw).hexdigest(), head)
    start = marker.start()
    digest = hashlib.sha256(raw[start:]).hexdigest()
    run, seq = marker["run"].decode(), int(marker["seq"])
    return Copy(account, mailbox, uid, run, seq, digest, raw[:start])


class Reader:
    """Reads all mailboxes of one account; a message that cannot be read is left out.

    It is then missing in the evidence, which is what the judge must see.
    """

    def __init__(self, port: int, account: str, password: str) -> None:
        self._port, self._account, self._password = port, account, password
        self._patience = 3
        self.copies: list[Copy] = []

    def run(self) -> list[Copy]:
        """Every message of every mailbox."""
        for name in self._names():
            self._mailbox(name)
        return self.copies

    @contextlib.contextmanager
    def _login(self) -> Iterator[imaplib.IMAP4]:
        link = imaplib.IMAP4("127.0.0.1", self._port, timeout=20)
        try:
            link.login(self._account, self._password)
            yield link
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                link.logout()

    def _names(self) -> list[str]:
        with self._login() as link:
            _, listed = link.list()
        names = [line.rpartition(b" ")[2] for line in listed if isinstance(line, bytes)]
        return [name.strip(b'"').decode() for name in names]

    def _mailbox(self, name: str) -> None:
        first, step, count = 1, _AT_ONCE, 1
        while first <= count and self._patience:
            try:
                with self._login() as link:
                    count = _select(link, name)
                    while first <= count:
                        last = min(count, first + step - 1)
                        found = _fetch(link, f"{first}:{last}")
                        if len(found) <= last - first:
                            raise _Unreadable
                        self._add(name, found)
                        first = last + 1
            except (_Unreadable, OSError, imaplib.IMAP4.error):
                # One that cannot be read must not hide its neighbours.
                if step == 1:
                    first += 1
                    self._patience -= 1
                step = 1

    def _add(self, name: str, found: list[tuple[int, bytes]]) -> None:
        self.copies += [read_copy(self._account, name, uid, raw) for uid, raw in found]


class _Unreadable(Exception):
    """FETCH gave fewer messages than it was asked for."""


def _select(link: imaplib.IMAP4, name: str) -> int:
    status, answer = link.select(f'"{name}"', readonly=True)
    if status != "OK":
        raise imaplib.IMAP4.error(f"SELECT {name}: {answer!r}")
    return int(answer[0] or 0)


def _fetch(link: imaplib.IMAP4, which: str) -> list[tuple[int, bytes]]:
    """(UID, octets) of the messages of a set, without those that the server cannot read."""
    status, parts = link.fetch(which, "(UID BODY.PEEK[])")
    found = []
    for index, part in enumerate(parts if status == "OK" else ()):
        if isinstance(part, tuple):
            # The UID may come before the literal or behind it.
            rest = parts[index + 1] if index + 1 < len(parts) else b""
            around = part[0] + (rest if isinstance(rest, bytes) else b"")
            uid = re.search(rb"UID (\d+)", around)
            found.append((int(uid[1]) if uid else 0, part[1]))
    return found


async def read_all_mailboxes(port: int, accounts: Sequence[str], password: str) -> list[Copy]:
    """The mailboxes of all accounts, a few at a time."""
    few = asyncio.Semaphore(3)

    async def one(account: str) -> list[Copy]:
        async with few:
            return await asyncio.to_thread(Reader(port, account, password).run)

    found = await asyncio.gather(*(one(account) for account in accounts))
    return [copy for copies in found for copy in copies]


class Rows(Protocol):
    """A read-only look at the tables, on either database."""

    async def fetch(self, query: str) -> list[Any]:
        """All rows."""
        ...


class PostgresRows:
    """Through asyncpg."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self, query: str) -> list[Any]:
        """All rows."""
        connection = await asyncpg.connect(self._url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()


class SqliteRows:
    """Through the standard library, while others write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self, query: str) -> list[Any]:
        """All rows."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as connection:
            return connection.execute(query).fetchall()


async def read_rows(rows: Rows, evidence: Evidence) -> None:
    """Fill in what the tables say."""
    found = await rows.fetch(
        "SELECT a.address, m.mail_id FROM mailbox_message m"
        " JOIN mailbox b ON b.id = m.mailbox_id JOIN account a ON a.id = b.account_id"
    )
    evidence.rows = [(row[0], row[1]) for row in found]
    found = await rows.fetch("SELECT mail_id, recipient, state FROM outcome")
    evidence.outcomes = {(row[0], row[1]): row[2] for row in found}
    found = await rows.fetch("SELECT mail_id, recipient FROM quarantine")
    evidence.quarantined = {(row[0], row[1]) for row in found}
    found = await rows.fetch("SELECT mail_id, recipient, last_reply, lease_until FROM deferred")
    evidence.deferred = {(row[0], row[1]): row[2] for row in found}
    evidence.leases = sum(row[3] > time.time() for row in found)
    found = await rows.fetch("SELECT queue, mail_id, reason FROM parked")
    evidence.parked = [(row[0], row[1], row[2]) for row in found]
    evidence.outbox = len(await rows.fetch("SELECT id FROM outbox"))
    evidence.swept = len(await rows.fetch("SELECT mail_id FROM sweep"))
