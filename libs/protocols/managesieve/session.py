"""A ManageSieve server's session: which command may come when, and what it means (RFC 5804)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from libs.protocols.managesieve.event import (
    Authenticate,
    Capability,
    CheckScript,
    DeleteScript,
    Event,
    GetScript,
    HaveSpace,
    ListScripts,
    Logout,
    PutScript,
    RenameScript,
    SaslAnswer,
    SetActive,
    StartTls,
)
from libs.protocols.managesieve.wire import Malformed, TooLarge, Word, read_line, response, string

MAX_LINE = 8 * 1024
"""Octets of a line without its literals, and of all that is kept of who is not logged in (M1)."""
MAX_SASL = 12 * 1024
MAX_SKIPPED = 16 * 1024 * 1024
"""A literal that is too large is read and thrown away up to here; behind it we hang up."""


class State(Enum):
    """RFC 5804 §1.7; the last one is after LOGOUT, or after what cannot be skipped."""

    NOT_AUTHENTICATED = auto()
    SASL = auto()
    AUTHENTICATED = auto()
    CLOSED = auto()


class ServerSession:
    """Takes octets, gives events one by one; each is answered before the next is asked for."""

    def __init__(self, max_script: int) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.mistakes = 0
        """Lines that were no command."""
        self._max_script = max_script
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []
        self._skip = 0

    def receive(self, data: bytes) -> None:
        """The next octets from the client."""
        self._incoming += data

    def data_to_send(self) -> bytes:
        """What is to be sent since the last time."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, data: bytes) -> None:
        """Add a line, or several."""
        self._outgoing.append(data)

    def ok(self, text: str = "", code: str = "", argument: str = "") -> None:
        """The command is done."""
        self.send(response("OK", text, code, argument))

    def no(self, text: str, code: str = "") -> None:
        """It is not; after a login, the client may try again."""
        if self.state is State.SASL:
            self.state = State.NOT_AUTHENTICATED
        self.send(response("NO", text, code))

    def bye(self, text: str, code: str = "") -> None:
        """The end, of our own accord."""
        self.send(response("BYE", text, code))
        self.close()

    def begin(self) -> None:
        """The client has proved who it is."""
        self.state = State.AUTHENTICATED

    def challenge(self, data: bytes) -> None:
        """A SASL challenge, in base64; the next line is its answer."""
        self.state = State.SASL
        self.send(string(data) + b"\r\n")

    def restart(self) -> None:
        """TLS has begun: forget all that was said before (RFC 5804 §2.2)."""
        self._incoming.clear()
        self._skip = 0

    def close(self) -> None:
        """Nothing more is taken."""
        self.state = State.CLOSED
        self._incoming.clear()

    def next_event(self) -> Event | None:
        """The next thing to decide, or None when more octets are needed."""
        while self.state is not State.CLOSED and self._skipped():
            try:
                words = self._line()
                if words is None:
                    return None
                event = self._meaning(words)
            except Malformed as wrong:
                self._wrong(str(wrong))
                continue
            if event is not None:
                return event
        return None

    def _wrong(self, text: str) -> None:
        self.mistakes += 1
        if self.state is State.CLOSED:
            return
        if self.state is State.SASL:
            # Whoever waits for the answer must not take a later command for it.
            self.bye(text)
        else:
            self.no(text)

    def _skipped(self) -> bool:
        """Throw away what is left of a literal that is too large; False: more is to come."""
        gone = min(self._skip, len(self._incoming))
        del self._incoming[:gone]
        self._skip -= gone
        return not self._skip

    def _most(self) -> int:
        if self.state is State.AUTHENTICATED:
            return self._max_script
        return MAX_SASL if self.state is State.SASL else MAX_LINE // 2

    def _line(self) -> list[Word] | None:
        most = self._most()
        try:
            found = read_line(self._incoming, most)
        except TooLarge as large:
            self._too_large(large.skip)
            return None
        except Malformed:
            self._drop_line()
            raise
        if found is None:
            if len(self._incoming) > most + MAX_LINE:
                self.bye("the line is too long")
            return None
        words, end = found
        del self._incoming[:end]
        return words

    def _too_large(self, skip: int) -> None:
        if self.state is not State.AUTHENTICATED or skip > MAX_SKIPPED:
            self.bye(f"a literal has at most {self._most()} octets", "QUOTA/MAXSIZE")
            return
        # The rest of the line follows the literal, and is empty in every command that has one.
        self.no(f"a script has at most {self._max_script} octets", "QUOTA/MAXSIZE")
        self._skip = skip + len(b"\r\n")

    def _drop_line(self) -> None:
        """Go on behind a line that is not understood, unless a literal hangs on it."""
        end = self._incoming.find(b"\n")
        if end < 0 or self._incoming[:end].rstrip(b"\r").endswith(b"}"):
            # What follows could be a literal's octets, and must not be taken for commands.
            self.bye("the line is no command")
            return
        del self._incoming[: end + 1]

    def _meaning(self, words: list[Word]) -> Event | None:
        if self.state is State.SASL:
            if len(words) != 1 or not isinstance(words[0], bytes):
                raise Malformed("expected a string with the answer")
            return SaslAnswer(words[0])
        if not words or not isinstance(words[0], str):
            raise Malformed("expected a command")
        name, arguments = words[0], words[1:]
        if name == "NOOP":
            self._noop(arguments)
            return None
        here = _ANY if name in _ANY else _BEFORE
        if self.state is State.AUTHENTICATED and name in _AFTER:
            here = _AFTER
        if name not in here or (here is _BEFORE and self.state is State.AUTHENTICATED):
            known = name in _BEFORE or name in _AFTER
            raise Malformed("not now: log in first or be logged in" if known else "no such command")
        kinds, make = here[name]
        return make(*_checked(name, arguments, kinds))

    def _noop(self, arguments: Sequence[Word]) -> None:
        """RFC 5804 §2.13: the tag comes back."""
        given = _checked("NOOP", arguments, "" if not arguments else "s")
        if given:
            self.ok("done", "TAG", str(given[0]))
        else:
            self.ok("done")


def _checked(name: str, arguments: Sequence[Word], kinds: str) -> list[object]:
    """Arguments of the kinds that a command takes: string, octets, number, `?` what may lack."""
    least = kinds.partition("?")[0]
    kinds = kinds.replace("?", "")
    if not len(least) <= len(arguments) <= len(kinds):
        raise Malformed(f"{name} takes {len(kinds)} arguments")
    return [_checked_one(name, one, kind) for one, kind in zip(arguments, kinds, strict=False)]


def _checked_one(name: str, argument: Word, kind: str) -> object:
    if kind == "n":
        if not isinstance(argument, int):
            raise Malformed(f"{name} takes a number here")
        return argument
    if not isinstance(argument, bytes):
        raise Malformed(f"{name} takes a string here")
    if kind == "o":
        return argument
    try:
        return argument.decode()
    except UnicodeDecodeError:
        raise Malformed("names are in UTF-8") from None


def _authenticate(mechanism: str, initial: bytes | None = None) -> Event:
    return Authenticate(mechanism.upper(), initial)


_Command = tuple[str, Callable[..., Event]]
_ANY: dict[str, _Command] = {"CAPABILITY": ("", Capability), "LOGOUT": ("", Logout)}
_BEFORE: dict[str, _Command] = {
    "AUTHENTICATE": ("s?o", _authenticate),
    "STARTTLS": ("", StartTls),
}
_AFTER: dict[str, _Command] = {
    "HAVESPACE": ("sn", HaveSpace),
    "PUTSCRIPT": ("so", PutScript),
    "CHECKSCRIPT": ("o", CheckScript),
    "LISTSCRIPTS": ("", ListScripts),
    "SETACTIVE": ("s", SetActive),
    "GETSCRIPT": ("s", GetScript),
    "DELETESCRIPT": ("s", DeleteScript),
    "RENAMESCRIPT": ("ss", RenameScript),
}
