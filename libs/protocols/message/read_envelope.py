"""Reading an ENVELOPE in wire form, as it is stored: for SEARCH, SORT and THREAD."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from libs.protocols.message.words import decode_words

_TOKEN = re.compile(rb'([()])|"((?:[^"\\]|\\.)*)"|\{([0-9]{1,10})\}\r\n|NIL|([^\s()"]+)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SUBJECT = re.compile(rb'\((?:"[^"\\]*"|NIL) (?:"((?:[^"\\]|\\.)*)"|NIL) ')
_FIELDS = 10
_IDS = {"in-reply-to": 8, "message-id": 9}
_ADDRESS_LISTS = {"from": 2, "sender": 3, "reply-to": 4, "to": 5, "cc": 6, "bcc": 7}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address of an ENVELOPE, decoded."""

    name: str
    local_part: str
    domain: str

    @property
    def address(self) -> str:
        """`local-part@domain`."""
        return f"{self.local_part}@{self.domain}"

    @property
    def display(self) -> str:
        """What a person reads: the name, else the address (RFC 5957 §3)."""
        return self.name or self.address


@dataclass(frozen=True, slots=True)
class EnvelopeFields:
    """The ten fields; octets as in the header, None where there is none."""

    values: tuple[Any, ...]

    @property
    def date(self) -> bytes:
        """The Date field."""
        return self.values[0] or b""

    @property
    def subject(self) -> str:
        """Decoded."""
        return decode_words(self.values[1] or b"")

    def text(self, name: str) -> str | None:
        """A field as SEARCH looks at it, decoded; None when an ENVELOPE does not have it."""
        if name == "subject":
            return self.subject
        if name in _IDS:
            return _text(self.values[_IDS[name]])
        if name not in _ADDRESS_LISTS:
            return None
        return ", ".join(_shown(one) for one in self.addresses(name))

    def addresses(self, name: str) -> list[Mailbox]:
        """The addresses of a field; groups are left out."""
        found = self.values[_ADDRESS_LISTS[name]] or ()
        return [
            Mailbox(decode_words(n or b""), _text(local), _text(domain))
            for n, _, local, domain in found
            if domain is not None
        ]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _shown(one: Mailbox) -> str:
    return f"{one.name} <{one.address}>" if one.name else one.address


def subject_of(wire: bytes) -> str:
    """The subject, decoded; most are found without reading the rest."""
    if match := _SUBJECT.match(wire):
        return decode_words(_ESCAPED.sub(rb"\1", match[1] or b""))
    return read_envelope(wire).subject


def read_envelope(wire: bytes) -> EnvelopeFields:
    """The fields of an ENVELOPE that we wrote; raises ValueError for anything else."""
    stack: list[list[Any]] = [[]]
    at, end = 0, len(wire)
    while at < end:
        if wire[at] == 0x20:
            at += 1
            continue
        match = _TOKEN.match(wire, at)
        if match is None:
            raise ValueError("not an ENVELOPE")
        at = match.end()
        if match[1] == b"(":
            stack.append([])
        elif match[1]:
            done = tuple(stack.pop())
            stack[-1].append(done)
        elif match[3]:
            size = int(match[3])
            stack[-1].append(wire[at : at + size])
            at += size
        else:
            stack[-1].append(_value(match))
    (values,) = stack[0]
    if len(values) != _FIELDS:
        raise ValueError("not an ENVELOPE")
    return EnvelopeFields(values)


def _value(match: re.Match[bytes]) -> bytes | None:
    text: bytes | None = match[2] if match[2] is not None else match[4]
    return _ESCAPED.sub(rb"\1", text) if text is not None and b"\\" in text else text
