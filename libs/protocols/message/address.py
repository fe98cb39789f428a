"""Address lists of header fields (RFC 5322 §3.4, obsolete forms too), in linear time.

A list is read as far as it can be understood: whatever stands between two commas is an address,
even without an `@`.  Text in front of `<...>` is always the display name, so that
`boss@good.example <thief@evil.example>` has one address, the one mail would go to.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from libs.protocols.message.charset import decode_text, storable

MAX_ADDRESSES = 2_000
"""Addresses and group marks of one list."""

MAX_TOKENS = 20_000
"""Words, signs and comments of one list, where its addresses are not of the usual form."""


class Address(NamedTuple):
    """One address, or a mark of a group; quoting is removed, encoded words are not decoded."""

    name: bytes
    """The display name, or a comment that serves as one."""
    route: bytes
    """The obsolete source route, `@a,@b`; nearly always empty."""
    local_part: bytes | None
    """None: the end of a group."""
    domain: bytes | None
    """None: a mark.  Then local-part is the group's name, or None at its end.
    Empty: the address has no domain."""

    @property
    def address(self) -> str:
        """`local-part@domain` as storable text; empty for a mark."""
        if self.domain is None or self.local_part is None:
            return ""
        octets = self.local_part + b"@" + self.domain if self.domain else self.local_part
        return storable(decode_text(octets))


GROUP_END = Address(b"", b"", None, None)


class AddressList(NamedTuple):
    """The addresses of one field."""

    addresses: tuple[Address, ...]
    limited: bool
    """There was more than `MAX_ADDRESSES` and `MAX_TOKENS` let in."""


# Nearly every address: a name without odd characters and <local-part@domain>, or the latter alone.
_ATOM = rb'[^\s"(),:;<>@\[\]\\]++'
_SIMPLE = re.compile(
    rb'[ \t]*+(?:(?:"([^"\\]*+)"|([^"(),:;<>@\[\]\\]*+))[ \t]*+<('
    + _ATOM
    + rb")@("
    + _ATOM
    + rb")>"
    rb"|(" + _ATOM + rb")@(" + _ATOM + rb"))[ \t]*+(?:,|\Z)"
)
_TOKEN = re.compile(
    rb'(?P<space>[ \t\r]++)|"(?P<quoted>(?:[^"\\]++|\\.)*+)"?|(?P<comment>\()'
    rb"|(?P<literal>\[[^\]]*+\]?)|(?P<special>[<>@,;:])|(?P<atom>[^ \t\r\"()\[<>@,;:]++)|\)",
    re.DOTALL,
)
_EMPTY = re.compile(rb"[ \t\r,]*+")
_IN_COMMENT = re.compile(rb"[()]|\\.", re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def parse_addresses(value: bytes | str, limit: int = MAX_ADDRESSES) -> AddressList:
    """The addresses and group marks of a field value, in order; at most `limit` of them."""
    octets = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    octets = octets.replace(b"\0", b"")
    if b"\n" in octets:
        octets = octets.replace(b"\r\n", b"").replace(b"\n", b"")
    reader = _Reader(octets)
    while reader.more() and len(reader.found) < limit:
        if not reader.read_simple():
            reader.read_any()
    limited = bool(octets[reader.at :].strip(b" \t\r,;"))
    if reader.in_group:
        # Each begin of a group needs its end, or IMAP clients misread what follows.
        reader.found.append(GROUP_END)
    return AddressList(tuple(reader.found), limited)


def _unquote(text: bytes) -> bytes:
    return _QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text


class _Reader:
    """Where we are in one list, and what was found so far."""

    __slots__ = ("at", "found", "in_group", "octets", "tokens")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = 0
        self.found: list[Address] = []
        self.in_group = False
        self.tokens = 0

    def more(self) -> bool:
        """Whether an address may follow; passes over empty list elements (RFC 5322 §4.4)."""
        empty = _EMPTY.match(self.octets, self.at)
        self.at = empty.end() if empty else self.at
        return self.at < len(self.octets) and self.tokens < MAX_TOKENS

    def read_simple(self) -> bool:
        """Take one address of the usual form, or nothing."""
        match = _SIMPLE.match(self.octets, self.at)
        if not match:
            return False
        quoted, name, local_part, domain, bare_local, bare_domain = match.groups()
        self.at = match.end()
        if bare_local is None:
            self.found.append(Address(quoted or (name or b"").rstrip(), b"", local_part, domain))
        else:
            self.found.append(Address(b"", b"", bare_local, bare_domain))
        return True

    def read_any(self) -> None:
        """Take all up to the next separator, by the grammar as far as it applies."""
        draft = _Draft()
        while self.tokens < MAX_TOKENS and (match := _TOKEN.match(self.octets, self.at)):
            self.at = match.end()
            self.tokens += 1
            kind = match.lastgroup
            if kind == "comment":
                draft.comment = self._comment() or draft.comment
            elif kind == "special" and match[0] in b",;:":
                if self._separator(match[0], draft):
                    return
            elif kind is not None:
                draft.add(kind, match[kind])
        self._finish(draft)

    def _separator(self, sign: bytes, draft: _Draft) -> bool:
        """Whether the address ends here; the start and end of groups are noted."""
        if draft.open and sign != b";":
            # Inside <...> these belong to a source route, or to a broken local-part.
            draft.add("special", sign)
            return False
        if sign == b":":
            return self._group_start(draft)
        self._finish(draft)
        if sign == b";" and self.in_group:
            self.found.append(GROUP_END)
            self.in_group = False
        return True

    def _group_start(self, draft: _Draft) -> bool:
        if self.in_group or draft.closed or b"@" in draft.words or not draft.words:
            draft.add("atom", b":")
            return False
        self.found.append(Address(b"", b"", b" ".join(draft.words), None))
        self.in_group = True
        return True

    def _finish(self, draft: _Draft) -> None:
        address = draft.address()
        if address:
            self.found.append(address)

    def _comment(self) -> bytes:
        """The text of the comment that was just opened; comments nest (RFC 5322 §3.2.2)."""
        start = self.at
        depth = 1
        for match in _IN_COMMENT.finditer(self.octets, start):
            self.tokens += 1
            depth += {b"(": 1, b")": -1}.get(match[0], 0)
            if depth == 0 or self.tokens >= MAX_TOKENS:
                self.at = match.end()
                return _unquote(self.octets[start : match.start()]).strip()
        self.at = len(self.octets)
        return _unquote(self.octets[start:]).strip()


class _Draft:
    """The pieces of one address, until its end is seen."""

    __slots__ = ("closed", "comment", "glue", "inside", "open", "words")

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.inside: list[bytes] = []
        self.comment = b""
        self.open = False
        self.closed = False
        # Whether the next piece continues the last word: no white space came between them.
        self.glue = False

    def add(self, kind: str, piece: bytes) -> None:
        """Take the next token of the address."""
        if kind == "space":
            self.glue = False
        elif kind == "special" and piece in b"<>":
            # The first <...> counts, and is not opened again.
            self.open = piece == b"<" and not self.closed
            self.closed = self.closed or self.open
            self.glue = False
        else:
            self._word(_unquote(piece) if kind == "quoted" else piece)

    def _word(self, piece: bytes) -> None:
        if self.open:
            self.inside.append(piece)
        elif piece == b"@":
            self.words.append(piece)
            self.glue = False
        elif self.glue:
            self.words.append(piece)
            self.words[-2:] = [b"".join(self.words[-2:])]
        else:
            self.words.append(piece)
            self.glue = True

    def address(self) -> Address | None:
        """The finished address; None when there was nothing but white space and comments."""
        if self.closed:
            return self._angle()
        if b"@" in self.words:
            return self._bare()
        if self.words:
            return Address(self.comment, b"", b" ".join(self.words), b"")
        return None

    def _angle(self) -> Address:
        # A display name with an @ in it reads as it was written, without spaces around the sign.
        name = b" ".join(self.words).replace(b" @ ", b"@")
        route = b""
        if self.inside[:1] == [b"@"] and b":" in self.inside:
            colon = self.inside.index(b":")
            route, self.inside = b"".join(self.inside[:colon]), self.inside[colon + 1 :]
        local_part, domain = _split(self.inside)
        return Address(name or self.comment, route, local_part, domain)

    def _bare(self) -> Address:
        # "John Doe jd@example.org": the word in front of the sign is the local-part.
        at = len(self.words) - 1 - self.words[::-1].index(b"@")
        name = b" ".join(self.words[: max(at - 1, 0)])
        local_part = self.words[at - 1] if at else b""
        if b"@" in self.words[:at]:
            name, local_part = b"", b"".join(self.words[:at])
        return Address(name or self.comment, b"", local_part, b"".join(self.words[at + 1 :]))


def _split(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Local-part and domain: what is before and after the last @."""
    if b"@" not in pieces:
        return b"".join(pieces), b""
    at = len(pieces) - 1 - pieces[::-1].index(b"@")
    return b"".join(pieces[:at]), b"".join(pieces[at + 1 :])
