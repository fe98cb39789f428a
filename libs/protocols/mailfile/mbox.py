"""mbox: many messages in one file, each behind a `From ` line (RFC 4155).

Two ways to hide such lines within a message: mboxrd puts one `>` more before every `>*From `, which
can be undone; mboxo does so before `From ` alone, and a line `>From ` comes back without its `>`.

Flags and UIDs go as fields above the header (`Status`, `X-Status`, `X-Keywords`, `X-UID`, as
Dovecot and others name them), the last of them `X-UID`; so a reader can take off just these.
Of files that others wrote the fields are read wherever they stand, and left where they are.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from libs.protocols.mailfile.lines import ToCrlf

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DATE = re.compile(
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))?"
    rb" +(?:[A-Z]{1,5} +|[+-]\d{4} +)?(\d{4})"
)
_CANDIDATE = re.compile(rb"^(>*)From ", re.MULTILINE)
_FIELD = re.compile(
    rb"^(Status|X-Status|X-Keywords|X-UID|X-IMAPbase|X-IMAP|X-Line-Ends):([^\r\n]*)\r?\n",
    re.MULTILINE | re.IGNORECASE,
)
_HEADER_END = re.compile(rb"^\r?\n", re.MULTILINE)
MAX_HEADER = 256 * 1024
"""Octets in which the fields of flags are looked for."""
_MAX_LINE = 1024 * 1024


class Quoting(StrEnum):
    """How `From ` lines within messages are hidden."""

    RD = "mboxrd"
    O = "mboxo"  # noqa: E741 (its name)


_QUOTED = {
    Quoting.RD: re.compile(rb"^(?=>*From )", re.MULTILINE),
    Quoting.O: re.compile(rb"^(?=From )", re.MULTILINE),
}


class NotMboxError(ValueError):
    """The file does not begin with a `From ` line."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A message begins; its octets follow, then `End`."""

    date: int | None
    """When it came, in seconds since the epoch."""
    status: str
    """Letters of Status and X-Status: R read, A answered, F flagged, D deleted, T draft."""
    keywords: str
    uid: int
    """0: not said."""
    uidvalidity: int
    """Of the mailbox; only in the first message, 0: not said."""


class End:
    """The message is whole."""


Event = Begin | End | bytes


class Reader:
    """Takes the file in blocks of any size, gives messages; in memory is one block."""

    def __init__(self, quoting: Quoting = Quoting.RD) -> None:
        self._quoting = quoting
        self._rest = b""
        self._within_line = False
        self._message: _Message | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """The next octets of the file; `NotMboxError` when it is something else."""
        self._rest += data
        end = self._rest.rfind(b"\n") + 1
        if end:
            # A blank line may be what separates two messages: it waits for what follows it.
            end -= self._blank_end(self._rest[:end])
        elif len(self._rest) >= _MAX_LINE:
            end = len(self._rest)
        lines, self._rest = self._rest[:end], self._rest[end:]
        yield from self._lines(lines)

    def end(self) -> Iterator[Event]:
        """The file ends."""
        rest, self._rest = self._rest, b""
        yield from self._lines(rest[: len(rest) - self._blank_end(rest)])
        if self._message is not None:
            yield from self._message.end()
            self._message = None

    def _lines(self, text: bytes) -> Iterator[Event]:
        at = 0
        for match in _CANDIDATE.finditer(text):
            start = match.start()
            if start == 0 and self._within_line:
                continue
            line = text[start : text.find(b"\n", start) + 1 or len(text)]
            if not match[1] and self._separates(text[max(0, start - 3) : start], line):
                yield from self._content(text[at : start - self._blank_end(text[at:start])])
                if self._message is not None:
                    yield from self._message.end()
                self._message = _Message(date_of(line))
                at = start + len(line)
            elif self._is_quoted(match[1]):
                yield from self._content(text[at:start])
                at = start + 1
        yield from self._content(text[at:])
        if text:
            self._within_line = not text.endswith(b"\n")

    def _separates(self, before: bytes, line: bytes) -> bool:
        """`before` is what stands before the line: three octets tell of a blank one."""
        if self._message is None:
            return not before
        # `From now on, at 10:30 ...` within an unquoted text seldom has a blank line and a date.
        return bool(self._blank_end(before)) and date_of(line) is not None

    def _blank_end(self, text: bytes) -> int:
        """Octets of the blank line at the end of whole lines, or 0."""
        for ending in (b"\r\n", b"\n"):
            if text.endswith(b"\n" + ending) or (text == ending and not self._within_line):
                return len(ending)
        return 0

    def _is_quoted(self, marks: bytes) -> bool:
        return marks == b">" if self._quoting is Quoting.O else marks != b""

    def _content(self, octets: bytes) -> Iterator[Event]:
        if not octets:
            return
        if self._message is None:
            raise NotMboxError("this is no mbox file: it does not begin with a `From ` line")
        yield from self._message.feed(octets)


class _Message:
    """One message: its fields are looked at first, then its octets go through."""

    def __init__(self, date: int | None) -> None:
        self._date = date
        self._head: bytearray | None = bytearray()
        self._lines = ToCrlf()
        self._open = False
        self._held = b""

    def feed(self, octets: bytes) -> Iterator[Event]:
        if self._head is None:
            yield from self._give(octets)
            return
        # Each octet is looked at once, however small the pieces are; a CR may wait for its LF.
        unseen = max(0, len(self._head) - 2)
        self._head += octets
        if _HEADER_END.search(self._head, unseen) or len(self._head) > MAX_HEADER:
            yield from self._begin()

    def end(self) -> Iterator[Event]:
        if self._head is not None:
            yield from self._begin()
        yield End()

    def _begin(self) -> Iterator[Event]:
        head, self._head = bytes(self._head or b""), None
        stop = _HEADER_END.search(head)
        own = _own_fields(head)
        fields = _FIELD.findall(head[:own] if own else head[: stop.start() if stop else len(head)])
        said = {name.lower(): value.strip().decode("ascii", "replace") for name, value in fields}
        ends = said.get(b"x-line-ends", "").split() if own else []
        self._lines = ToCrlf(kept="kept" in ends)
        self._open = "open" in ends
        yield Begin(
            self._date,
            said.get(b"status", "") + said.get(b"x-status", ""),
            said.get(b"x-keywords", ""),
            _number(said.get(b"x-uid", "")),
            _number(said.get(b"x-imapbase", said.get(b"x-imap", "")).partition(" ")[0]),
        )
        yield from self._give(head[own:])

    def _give(self, octets: bytes) -> Iterator[Event]:
        octets, self._held = self._held + octets, b""
        if self._open and octets.endswith(b"\n"):
            # Its last LF is the file's; which one is the last shows later.
            octets, self._held = octets[:-1], b"\n"
        if octets:
            yield self._lines.feed(octets)


def _own_fields(head: bytes) -> int:
    """Octets of the fields that were put above the header, which end with X-UID; else 0."""
    at = 0
    while match := _FIELD.match(head, at):
        at = match.end()
        if match[1] == b"X-UID":
            return at
    return 0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0


def date_of(line: bytes) -> int | None:
    """The date of a `From ` line, in UTC (RFC 4155), or None."""
    match = _DATE.search(line)
    if not match:
        return None
    month, day, hour, minute, second, year = (g.decode() for g in match.groups(b"0"))
    try:
        moment = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)
        )
    except ValueError:
        return None
    return timegm(moment.timetuple())


def from_line(date: float, sender: str = "MAILER-DAEMON") -> bytes:
    """What stands before a message."""
    moment = datetime.fromtimestamp(int(date), UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    text = f"From {sender} {day} {month} {moment.day:2} {moment:%H:%M:%S} {moment.year:04}\n"
    return text.encode("ascii", "replace")


def fields(begin: Begin, *, kept: bool, open_end: bool) -> bytes:
    """What goes above the header; `kept` and `open_end` as the content is written."""
    lines = []
    if begin.uidvalidity:
        lines.append(f"X-IMAPbase: {begin.uidvalidity} {begin.uid}")
    seen, rest = "R" in begin.status, "".join(c for c in "AFDT" if c in begin.status)
    lines.append("Status: RO" if seen else "Status: O")
    lines += [f"X-Status: {rest}"] if rest else []
    lines += [f"X-Keywords: {begin.keywords}"] if begin.keywords else []
    if kept or open_end:
        ends = [word for word, so in (("kept", kept), ("open", open_end)) if so]
        lines.append(f"X-Line-Ends: {' '.join(ends)}")
    lines.append(f"X-UID: {begin.uid}")
    return "".join(f"{line}\n" for line in lines).encode("ascii", "replace")


class Quoter:
    """Hides `From ` lines of content with LF, as it comes in blocks."""

    def __init__(self, quoting: Quoting) -> None:
        self._pattern = _QUOTED[quoting]
        self._rest = b""
        self._within_line = False

    def feed(self, block: bytes) -> bytes:
        """What goes into the file."""
        self._rest += block
        end = self._rest.rfind(b"\n") + 1
        if not end and len(self._rest) >= _MAX_LINE:
            end = len(self._rest)
        lines, self._rest = self._rest[:end], self._rest[end:]
        return self._quoted(lines)

    def end(self) -> bytes:
        """The last line, which has no LF."""
        return self._quoted(self._rest)

    def _quoted(self, lines: bytes) -> bytes:
        if not lines:
            return b""
        within, self._within_line = self._within_line, not lines.endswith(b"\n")
        if not within:
            return self._pattern.sub(b">", lines)
        first = lines.find(b"\n") + 1 or len(lines)
        return lines[:first] + self._pattern.sub(b">", lines[first:])
