"""A POP3 server's session: which command may come when, and what it means (RFC 1939)."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

from libs.protocols.pop3.event import (
    Auth,
    Capa,
    Dele,
    Event,
    List,
    Login,
    Quit,
    Retr,
    Rset,
    SaslLine,
    Stat,
    Stls,
    Top,
    Uidl,
)
from libs.protocols.pop3.reply import err, listing, ok

MAX_LINE = 512
"""Octets of a command line: 255 at least (RFC 2449 §4); longer addresses have room here."""
MAX_SASL_LINE = 12 * 1024
_NUMBER = re.compile(rb"[0-9]{1,10}")
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")
_LANGUAGE = b"en"


class State(Enum):
    """RFC 1939 §3; the last one is after QUIT, or after a line that cannot be skipped."""

    AUTHORIZATION = auto()
    SASL = auto()
    TRANSACTION = auto()
    CLOSED = auto()


class _Wrong(Exception):
    """What is answered -ERR."""


class ServerSession:
    """Takes octets, gives events one by one; each is answered before the next is asked for."""

    def __init__(self) -> None:
        self.state = State.AUTHORIZATION
        self.mistakes = 0
        """Lines that were no command."""
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []
        self._name: bytes | None = None

    def receive(self, data: bytes) -> None:
        """The next octets from the client."""
        self._incoming += data

    def data_to_send(self) -> bytes:
        """What is to be sent since the last time."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, data: bytes) -> None:
        """Add a reply, or a part of one."""
        self._outgoing.append(data)

    def begin(self) -> None:
        """The client has proved who it is."""
        self.state = State.TRANSACTION

    def challenge(self, data: bytes) -> None:
        """A SASL challenge, in base64; the next line is its answer."""
        self.state = State.SASL
        self._outgoing.append(b"+ " + data + b"\r\n")

    def refuse(self, text: str, code: str = "") -> None:
        """No; after a login, the client may try again."""
        if self.state is State.SASL:
            self.state = State.AUTHORIZATION
        self._outgoing.append(err(text, code))

    def restart(self) -> None:
        """TLS has begun: forget all that was said before (RFC 2595 §4)."""
        self._incoming.clear()
        self._name = None

    def close(self) -> None:
        """Nothing more is taken."""
        self.state = State.CLOSED
        self._incoming.clear()

    def next_event(self) -> Event | None:
        """The next thing to decide, or None when more octets are needed."""
        while self.state is not State.CLOSED:
            line = self._line()
            if line is None:
                return None
            if self.state is State.SASL:
                return SaslLine(line)
            try:
                event = self._command(line)
            except _Wrong as wrong:
                self.mistakes += 1
                self.send(err(str(wrong)))
                continue
            if event is not None:
                return event
        return None

    def _line(self) -> bytes | None:
        most = MAX_SASL_LINE if self.state is State.SASL else MAX_LINE
        end = self._incoming.find(b"\n")
        if end > most or (end < 0 and len(self._incoming) > most):
            self.send(err("the line is too long"))
            self.close()
            return None
        if end < 0:
            return None
        line = bytes(self._incoming[:end]).removesuffix(b"\r")
        del self._incoming[: end + 1]
        return line

    def _command(self, line: bytes) -> Event | None:
        word, _, rest = line.partition(b" ")
        name = word.decode("ascii", "replace").upper()
        here = _AUTHORIZATION if self.state is State.AUTHORIZATION else _TRANSACTION
        for table in (_ANY, here):
            if name in table:
                return table[name](self, rest)
        if name in _AUTHORIZATION or name in _TRANSACTION:
            raise _Wrong("not now: " + ("log in first" if name in _TRANSACTION else "logged in"))
        raise _Wrong("unknown command")

    def _noop(self, rest: bytes) -> None:
        _nothing(rest)
        self.send(ok())

    def _lang(self, rest: bytes) -> None:
        """RFC 6856 §3."""
        if not rest:
            self.send(listing("languages", ["en English"]))
        elif rest.split(b"-")[0].lower() == _LANGUAGE or rest == b"*":
            self.send(ok("en"))
        else:
            raise _Wrong("only en")

    def _utf8(self, rest: bytes) -> None:
        """RFC 6856 §2: messages are given as they are in any case."""
        _nothing(rest)
        self.send(ok("UTF-8"))

    def _user(self, rest: bytes) -> None:
        if not rest:
            raise _Wrong("USER needs a name")
        self._name = rest
        self.send(ok("now the password"))

    def _pass(self, rest: bytes) -> Event:
        name, self._name = self._name, None
        if name is None:
            raise _Wrong("USER comes first")
        # RFC 1939 §7: a password may have spaces.
        return Login(name, rest)

    def _auth(self, rest: bytes) -> Event:
        mechanism, _, initial = rest.partition(b" ")
        if not _MECHANISM.fullmatch(mechanism):
            raise _Wrong("AUTH needs the name of a mechanism")
        return Auth(mechanism.decode().upper(), initial or None)

    def _top(self, rest: bytes) -> Event:
        parts = rest.split(b" ")
        if len(parts) != 2:
            raise _Wrong("TOP needs a number and a count of lines")
        return Top(_number(parts[0]), _number(parts[1]))


def _nothing(rest: bytes) -> None:
    if rest.strip():
        raise _Wrong("this command has no argument")


def _number(text: bytes) -> int:
    if not _NUMBER.fullmatch(text):
        raise _Wrong("not a number")
    return int(text)


def _plain(event: type[Capa | Stls | Stat | Rset | Quit]) -> _Handler:
    def handle(_: ServerSession, rest: bytes) -> Event:
        _nothing(rest)
        return event()

    return handle


def _maybe(event: type[List | Uidl]) -> _Handler:
    return lambda _, rest: event(_number(rest) if rest else None)


def _one(event: type[Retr | Dele]) -> _Handler:
    return lambda _, rest: event(_number(rest))


_Handler = Callable[[ServerSession, bytes], Event | None]
_ANY: dict[str, _Handler] = {
    "CAPA": _plain(Capa),
    "QUIT": _plain(Quit),
    "LANG": ServerSession._lang,
}
_AUTHORIZATION: dict[str, _Handler] = {
    "USER": ServerSession._user,
    "PASS": ServerSession._pass,
    "AUTH": ServerSession._auth,
    "STLS": _plain(Stls),
    "UTF8": ServerSession._utf8,
}
_TRANSACTION: dict[str, _Handler] = {
    "STAT": _plain(Stat),
    "LIST": _maybe(List),
    "UIDL": _maybe(Uidl),
    "RETR": _one(Retr),
    "TOP": ServerSession._top,
    "DELE": _one(Dele),
    "RSET": _plain(Rset),
    "NOOP": ServerSession._noop,
}
