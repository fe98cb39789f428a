"""A client that does anything in any order, and holds every answer against what it knows.

It keeps its own picture of the mailbox, as an IMAP client does, from untagged responses alone;
a response that does not fit into the picture is a state error.
"""

from __future__ import annotations

import random
import re
import socket

_EXISTS = re.compile(rb"\* (\d+) EXISTS\r\n")
_EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE\r\n")
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)\r\n")
_UID = re.compile(rb"UID (\d+)")
MAILBOXES = ("INBOX", "Archive", "Trash")


class StateError(AssertionError):
    """The server said what cannot be."""


class Client:
    """One connection; `step` does something at random."""

    def __init__(self, port: int, user: str, password: str, seed: int) -> None:
        self._chosen = random.Random(seed)
        self._port, self._user, self._password = port, user, password
        self.commands = 0
        self.appended: list[str] = []
        """The marks of messages whose APPEND was answered OK."""
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        self._selected = ""
        self._uids: list[int | None] = []
        self._ask(f'LOGIN {self._user} "{self._password}"')

    def _ask(self, command: str, literal: bytes = b"") -> bytes:
        self.commands += 1
        tag = f"c{self.commands}"
        tail = b" {%d+}\r\n%b" % (len(literal), literal) if literal else b""
        self._socket.sendall(f"{tag} {command}".encode() + tail + b"\r\n")
        while line := self._file.readline():
            if line.startswith(tag.encode() + b" "):
                if b" BAD " in line or b"SERVERBUG" in line:
                    raise StateError(f"{command}: {line!r}")
                return line
            self._hear(command, line)
        raise ConnectionError("the server hung up")

    def _hear(self, command: str, line: bytes) -> None:
        if line.startswith(b"* BYE"):
            raise ConnectionError("BYE")
        if match := _EXISTS.fullmatch(line):
            count = int(match[1])
            if count < len(self._uids):
                raise StateError(f"EXISTS {count} after {len(self._uids)}: only EXPUNGE takes away")
            self._uids += [None] * (count - len(self._uids))
        elif match := _EXPUNGE.fullmatch(line):
            number = int(match[1])
            if not 1 <= number <= len(self._uids):
                raise StateError(f"EXPUNGE {number} of {len(self._uids)}")
            if command.split()[0] in ("FETCH", "STORE", "SEARCH"):
                raise StateError(f"EXPUNGE within {command} (RFC 9051 §7.5.1)")
            del self._uids[number - 1]
        elif match := _FETCH.fullmatch(line):
            self._hear_fetch(int(match[1]), match[2])

    def _hear_fetch(self, number: int, inside: bytes) -> None:
        if not 1 <= number <= len(self._uids):
            raise StateError(f"FETCH {number} of {len(self._uids)}")
        found = _UID.search(inside)
        if found is None:
            return
        uid, known = int(found[1]), self._uids[number - 1]
        if known not in (None, uid):
            raise StateError(f"number {number} was UID {known}, and is {uid}")
        self._uids[number - 1] = uid
        around = [u for u in self._uids if u is not None]
        if around != sorted(set(around)):
            raise StateError(f"UIDs do not ascend: {around}")

    def step(self) -> None:
        """One command, chosen at random; a lost connection is made again."""
        try:
            if not self._selected or self._chosen.random() < 0.05:
                self._select()
            else:
                self._chosen.choice(self._ACTIONS)(self)
        except (ConnectionError, TimeoutError):
            self.reconnect()

    def reconnect(self) -> None:
        """A new connection; raises OSError while nobody listens."""
        self.close()
        self._connect()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def _select(self) -> None:
        self._uids, name = [], self._chosen.choice(MAILBOXES)
        self._ask(f"SELECT {name}")
        self._selected = name

    def _set(self) -> str:
        count = max(len(self._uids), 1)
        low = self._chosen.randint(1, count)
        return f"{low}:{min(low + self._chosen.randint(0, 5), count)}"

    def _fetch(self) -> None:
        if self._uids:
            self._ask(f"FETCH {self._set()} (UID FLAGS ENVELOPE)")

    def _store(self) -> None:
        flag = self._chosen.choice(("\\Seen", "\\Flagged", "\\Deleted", "$x"))
        if self._uids:
            self._ask(f"STORE {self._set()} {self._chosen.choice('+-')}FLAGS ({flag})")

    def _expunge(self) -> None:
        self._ask("EXPUNGE")

    def _search(self) -> None:
        self._ask(self._chosen.choice(("SEARCH UNSEEN", "UID SEARCH SUBJECT mark", "SEARCH 1:*")))

    def _append(self) -> None:
        mark = f"a{self._chosen.getrandbits(64):x}"
        content = f"Subject: mark {mark}\r\n\r\nsoak\r\n".encode()
        if b" OK " in self._ask(f"APPEND {self._chosen.choice(MAILBOXES)}", content):
            self.appended.append(mark)

    def _move(self) -> None:
        if self._uids:
            self._ask(f"MOVE {self._set()} {self._chosen.choice(MAILBOXES)}")

    def _noop(self) -> None:
        self._ask("NOOP")

    _ACTIONS = (_fetch, _fetch, _store, _store, _expunge, _search, _append, _move, _noop, _noop)
