"""A message as signatures see it: canonical header fields, and hashes of the body.

The body hash of each canonical form is made once, however many signatures ask for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from libs.protocols.message.header import Field, Header, parse_header

_BARE_LF = re.compile(rb"(?<!\r)\n")
_RUNS = re.compile(rb"[ \t]+")
_SIGNATURE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")
IN_LOOP_OCTETS = 1024 * 1024
"""A body of more octets is hashed in a thread."""


class SignedMessage:
    """The octets of one message, with CRLF line ends."""

    def __init__(
        self, content: bytes, header: Header | None = None, body_hash: bytes | None = None
    ) -> None:
        """`body_hash`: of the relaxed body, when the content is the header section alone."""
        if content.count(b"\n") != content.count(b"\r\n"):
            # Signers canonicalise what SMTP would carry (RFC 6376 §5.3).
            content, header = _BARE_LF.sub(b"\r\n", content), None
        self.content = content
        self.header = parse_header(content) if header is None else header
        self._hashes: dict[bool, bytes] = {} if body_hash is None else {True: body_hash}
        self._by_name: dict[bytes, list[Field]] = {}
        for field in self.header.fields:
            self._by_name.setdefault(field.name, []).append(field)

    @property
    def large(self) -> bool:
        """Hashing its body would hold up the event loop."""
        return len(self.content) - self.header.end > IN_LOOP_OCTETS

    def fields(self, name: bytes) -> Sequence[Field]:
        """The fields of this (lower case) name, from the top."""
        return self._by_name.get(name, ())

    def body_hash(self, relaxed: bool) -> bytes:
        """SHA-256 of the canonical body (RFC 6376 §3.4.3, §3.4.4)."""
        known = self._hashes.get(relaxed)
        if known is None:
            body = self.content[self.header.end :]
            canonical = relaxed_body(body) if relaxed else simple_body(body)
            known = self._hashes[relaxed] = hashlib.sha256(canonical).digest()
        return known

    def canonical(self, field: Field, relaxed: bool) -> bytes:
        """One field in canonical form, with its CRLF."""
        if relaxed:
            return relaxed_field(field.name, field.value)
        return self._name(field) + b":" + field.value + b"\r\n"

    def canonical_signature(self, field: Field, relaxed: bool) -> bytes:
        """A signature field with an empty `b=` and without its CRLF (RFC 6376 §3.5)."""
        emptied = field._replace(value=_SIGNATURE.sub(rb"\1", field.value, count=1))
        return self.canonical(emptied, relaxed)[:-2]

    def signed_fields(self, names: Sequence[bytes], relaxed: bool) -> bytes:
        """The fields that `h=` names; each mention takes the next one from below (§5.4.2)."""
        taken: dict[bytes, int] = {}
        chosen = []
        for name in names:
            there = self._by_name.get(name, ())
            n = taken[name] = taken.get(name, 0) + 1
            if n <= len(there):
                chosen.append(self.canonical(there[-n], relaxed))
        return b"".join(chosen)

    def _name(self, field: Field) -> bytes:
        """The name as it was written; white space before the colon stays."""
        return self.content[field.start : self.content.index(b":", field.start)]


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """RFC 6376 §3.4.2; the name is in lower case already."""
    if b"\v" in value or b"\f" in value:
        value = _RUNS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    else:
        # Splitting takes every CR and LF for space: there are none outside folds.
        value = b" ".join(value.split())
    return name + b":" + value + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4, in steps of C speed."""
    body = _relaxed_lines(body)
    if body.endswith(b" "):
        body = body[:-1]
    canonical = _one_end(body)
    return b"" if canonical == b"\r\n" else canonical


class BodyHash:
    """The hash of a relaxed body that comes in blocks, with CRLF line ends."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._line: list[bytes] = []
        self._empty = 0

    def feed(self, block: bytes) -> None:
        """The next block; no CRLF is divided between two of them."""
        end = block.rfind(b"\r\n") + 2
        if end < 2:
            self._line.append(block)
            return
        self._lines(b"".join([*self._line, block[:end]]))
        self._line = [block[end:]]

    def _lines(self, lines: bytes) -> None:
        canonical = _relaxed_lines(lines)
        end = _last_text(canonical)
        if end:
            self._sha256.update(b"\r\n" * self._empty + canonical[:end])
            self._empty = 0
        self._empty += (len(canonical) - end) // 2

    def digest(self) -> bytes:
        """Of all that came; empty lines at the end do not count."""
        last = b"".join(self._line)
        if last:
            self._lines(last + b"\r\n")
            self._line = []
        return self._sha256.digest()


def _last_text(body: bytes) -> int:
    """Where the last line that is not empty ends, with its CRLF; 0: there is none."""
    end = len(body)
    while body.endswith(b"\r\n\r\n", 0, end):
        end -= 2
    return 0 if end == 2 and body.startswith(b"\r\n") else end


def _relaxed_lines(lines: bytes) -> bytes:
    if b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n")


def simple_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.3: an empty body is one CRLF."""
    return _one_end(body)


def _one_end(body: bytes) -> bytes:
    end = len(body)
    while body.endswith(b"\r\n\r\n", 0, end):
        end -= 2
    if end < len(body):
        body = body[:end]
    if body == b"\r\n" or not body:
        return b"\r\n"
    return body if body.endswith(b"\r\n") else body + b"\r\n"
