"""The MIME structure of a content, as octet offsets: our own scanner for hostile mail.

It searches for boundaries and never walks lines; it does not recurse, never raises, and takes
time linear in the content.  Where a limit is hit, the rest becomes one opaque leaf
(application/octet-stream) and the result says why.  No octet of the content is copied.

A multipart always has a part: without any delimiter line, its whole body is one text/plain part,
so that what a truncated or falsely labelled message says can still be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from libs.protocols.message.header import Header, parse_header
from libs.protocols.message.parameters import Parameters, parameter, parse_value

MAX_DEPTH = 30
"""Parts inside parts; the message itself is at depth 1."""

MAX_PARTS = 1_000
"""Parts of one content, all levels together."""

MAX_BOUNDARY_OCTETS = 998
"""A longer boundary fits on no line (RFC 5322 §2.1.1), so it delimits nothing."""

MAX_FALSE_DELIMITERS = 10_000
"""Lines of one content that begin like a delimiter line and are none."""

MAX_LANGUAGES = 100
"""Tags of one Content-Language field that are kept."""

# After the boundary: an end mark, padding, and the line break (RFC 2046 §5.1.1).
_TAIL = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\r?\Z)")
_TYPE = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z{}-]++)/([!#$%&'*+.^_`|~0-9a-z{}-]++)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z{}-]++")

_WINDOW = 16 * 1024
"""Longer than any delimiter."""

_PLAIN = ("text", "plain")
_MESSAGE = ("message", "rfc822")
_OPAQUE = ("application", "octet-stream")
# RFC 2045 §5.2: what a part without a Content-Type is.
_DEFAULT_PARAMETERS: Parameters = ((b"charset", b"us-ascii"),)


@dataclass(slots=True)
class Part:
    """One part: what its header says, and where it is in the content.

    Header octets are [start, body_start), the blank line included; body octets [body_start, end).
    """

    header: Header
    start: int
    body_start: int
    end: int
    type: str
    subtype: str
    """Type and subtype in lower case."""
    parameters: Parameters
    encoding: str = "7bit"
    """Content-Transfer-Encoding in lower case; `7bit` when there is none."""
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    location: bytes | None = None
    language: tuple[bytes, ...] = ()
    disposition: str = ""
    disposition_parameters: Parameters = ()
    lines: int = 0
    """Line breaks in the body; counted for text and message/rfc822 only."""
    children: list[Part] = field(default_factory=list)
    """Of a multipart: its parts, at least one.  Of message/rfc822: the message's root, alone."""

    @property
    def size(self) -> int:
        """Octets of the body, as transferred."""
        return self.end - self.body_start

    @property
    def is_multipart(self) -> bool:
        """Whether the children are the parts of a multipart."""
        return self.type == "multipart"

    @property
    def is_message(self) -> bool:
        """Whether the child is the root of an embedded message."""
        return self.type == "message" and self.subtype == "rfc822"

    @property
    def charset(self) -> str:
        """The charset parameter, or the empty string."""
        return parameter(self.parameters, b"charset")

    @property
    def filename(self) -> str:
        """The decoded name of an attachment, or the empty string (RFC 2183 §2.3)."""
        return parameter(self.disposition_parameters, b"filename") or parameter(
            self.parameters, b"name"
        )

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in the order of the content."""
        pending = [self]
        while pending:
            part = pending.pop()
            yield part
            pending.extend(reversed(part.children))


class Structure(NamedTuple):
    """The part tree of a content."""

    content: bytes
    root: Part
    reason: str
    """Which limit was hit first, or the empty string."""

    @property
    def limited(self) -> bool:
        """Whether some of the content was left as it is, because of a limit."""
        return bool(self.reason)


def scan(content: bytes | bytearray | memoryview) -> Structure:
    """The structure of a message; `bytes` are taken without a copy."""
    octets = content if isinstance(content, bytes) else bytes(content)
    scanner = _Scanner(octets)
    root = scanner.part(0, len(octets), _PLAIN)
    pending = [(root, 1)]
    while pending:
        part, depth = pending.pop()
        scanner.open(part, depth)
        pending.extend((child, depth + 1) for child in reversed(part.children))
    scanner.count_lines()
    return Structure(octets, root, scanner.reason)


class _Scanner:
    """Makes the parts of one content and keeps to the limits."""

    __slots__ = ("content", "counted", "false_delimiters", "parts", "reason")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reason = ""
        self.parts = 0
        self.false_delimiters = 0
        self.counted: list[Part] = []

    def part(self, start: int, end: int, default: tuple[str, str]) -> Part:
        """The part whose header begins at `start`; its children are not looked for yet."""
        self.parts += 1
        header = parse_header(self.content, start, end)
        if header.limited:
            self._limit(header.limited)
        kind, parameters = self._content_type(header, default)
        part = Part(header, start, header.end, end, *kind, parameters)
        self._describe(part)
        if part.type == "text" or kind == _MESSAGE:
            self.counted.append(part)
        return part

    def open(self, part: Part, depth: int) -> None:
        """Find the children of a part, or make it opaque when it may have none."""
        if not (part.is_multipart or part.is_message):
            return
        if depth >= MAX_DEPTH:
            self._close(part, "depth of parts")
        elif self.parts >= MAX_PARTS:
            self._close(part, "number of parts")
        elif part.is_message:
            part.children.append(self.part(part.body_start, part.end, _PLAIN))
        else:
            self._open_multipart(part)

    def count_lines(self) -> None:
        """Fill in `lines`, reading each octet once however deep the parts are nested."""
        if len(self.counted) == 1:
            part = self.counted[0]
            part.lines = self.content.count(b"\n", part.body_start, part.end)
            return
        cuts = sorted({cut for part in self.counted for cut in (part.body_start, part.end)})
        lines, before, total = {}, 0, 0
        for cut in cuts:
            total += self.content.count(b"\n", before, cut)
            lines[cut] = total
            before = cut
        for part in self.counted:
            part.lines = lines[part.end] - lines[part.body_start]

    def _limit(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _close(self, part: Part, reason: str) -> None:
        self._limit(reason)
        part.type, part.subtype = _OPAQUE
        part.parameters = ()

    def _open_multipart(self, part: Part) -> None:
        # RFC 2046 §5.1.5: in a digest, a part without a Content-Type is a message.
        default = _MESSAGE if part.subtype == "digest" else _PLAIN
        for start, end in self._spans(part):
            if self.parts >= MAX_PARTS:
                last = self.part(start, part.end, default)
                self._close(last, "number of parts")
                part.children.append(last)
                return
            part.children.append(self.part(start, end, default))
        if not part.children:
            self.parts += 1
            at = part.body_start
            none = Header((), at, at, "", {})
            part.children.append(Part(none, at, at, part.end, *_PLAIN, _DEFAULT_PARAMETERS))
            self.counted.append(part.children[0])

    def _spans(self, part: Part) -> Iterator[tuple[int, int]]:
        """Where the parts between the delimiter lines are (RFC 2046 §5.1)."""
        boundary = _boundary(part)
        if not boundary or not part.size:
            return
        content, end = self.content, part.end
        # One line break in the pattern, in front, keeps the search linear on any content.
        delimiter = b"\n--" + boundary
        # The line break that ends the header serves the first delimiter.
        start, at = -1, part.body_start - 1
        while (hit := _find(content, delimiter, at, end)) >= 0:
            tail = _TAIL.match(content, hit + len(delimiter), end)
            if tail is None:
                self.false_delimiters += 1
                if self.false_delimiters > MAX_FALSE_DELIMITERS:
                    self._limit("lines like delimiters")
                    break
                at = hit + 1
                continue
            if start >= 0:
                # The line break in front belongs to the delimiter, not to the part.
                yield start, max(start, hit - 1 if content[hit - 1] == 0x0D else hit)
            if tail[1]:
                return
            start = tail.end()
            at = start - 1
        if start >= 0:
            yield start, end

    def _content_type(
        self, header: Header, default: tuple[str, str]
    ) -> tuple[tuple[str, str], Parameters]:
        value = header.first(b"content-type")
        if value is None:
            return default, _DEFAULT_PARAMETERS if default == _PLAIN else ()
        word, parameters, complete = parse_value(value)
        if not complete:
            self._limit("parameters")
        match = _TYPE.fullmatch(word)
        # RFC 2045 §5.2: what cannot be understood is plain text.
        kind = (match[1].decode(), match[2].decode()) if match else _PLAIN
        return kind, parameters

    def _describe(self, part: Part) -> None:
        """Fill in what the other Content- fields say."""
        first = part.header.first
        encoding = _TOKEN.match(first(b"content-transfer-encoding") or b"")
        if encoding:
            part.encoding = encoding[0].decode().lower()
        part.id = first(b"content-id")
        part.description = first(b"content-description")
        part.md5 = first(b"content-md5")
        part.location = first(b"content-location")
        languages = first(b"content-language")
        if languages:
            part.language = tuple(
                one[0] for one in islice(_TOKEN.finditer(languages), MAX_LANGUAGES)
            )
        disposition = first(b"content-disposition")
        if disposition:
            self._dispose(part, disposition)

    def _dispose(self, part: Part, value: bytes) -> None:
        word, part.disposition_parameters, complete = parse_value(value)
        if not complete:
            self._limit("parameters")
        # RFC 2183 §2.8: what is not known is an attachment.
        token = _TOKEN.fullmatch(word)
        part.disposition = token[0].decode() if token else "attachment"


def _find(content: bytes, delimiter: bytes, at: int, end: int) -> int:
    """As `content.find`, but where no hyphen is, at the speed of memory: Base64 has none."""
    while (hyphen := content.find(b"-", at, end)) >= 0:
        stop = min(end, hyphen + _WINDOW)
        hit = content.find(delimiter, max(at, hyphen - 1), stop)
        if hit >= 0 or stop == end:
            return hit
        # It may lie across the end of the window.
        at = stop - len(delimiter) + 1
    return -1


def _boundary(part: Part) -> bytes:
    """The boundary of a multipart, or nothing when it can delimit nothing."""
    for name, value in part.parameters:
        if name == b"boundary":
            boundary = value
        elif name == b"boundary*":
            boundary = unquote_to_bytes(value.split(b"'", 2)[-1])
        else:
            continue
        # RFC 2046 §5.1.1: a boundary does not end with white space.
        boundary = boundary.rstrip()
        return b"" if len(boundary) > MAX_BOUNDARY_OCTETS or b"\n" in boundary else boundary
    return b""
