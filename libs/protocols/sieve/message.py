"""A message as the tests of a script see it; what one test has decoded, the next one finds."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from libs.protocols.message.address import parse_addresses
from libs.protocols.message.charset import decode_text, storable
from libs.protocols.message.decode import UnknownEncoding, decode_transfer
from libs.protocols.message.header import header_end, parse_header
from libs.protocols.message.mime import Part, scan
from libs.protocols.message.words import decode_words
from libs.protocols.sieve.compare import Normal

MAX_BODY_OCTETS = 1 << 20
"""Octets of one part's body that are looked at."""


class Halves(NamedTuple):
    """An address without display name."""

    local_part: str
    domain: str

    @property
    def whole(self) -> str:
        """`local-part@domain`, or the local-part alone."""
        return f"{self.local_part}@{self.domain}" if self.domain else self.local_part


class Message:
    """One message: trace fields that we add stand in front of its own header section."""

    def __init__(self, content: bytes, prefix: bytes = b"", size: int | None = None) -> None:
        """`size`: octets of the whole content, when `content` is only its beginning."""
        self._content = content
        self.size = len(content) if size is None else size
        """Octets of content (RFC 5228 §5.9)."""
        self._header = parse_header(prefix + content[: header_end(content)])
        self._texts: dict[str, list[str]] = {}
        self._normal: dict[tuple[str, Normal], list[str]] = {}
        self._addresses: dict[str, list[Halves]] = {}

    def texts(self, name: str) -> list[str]:
        """The decoded values of all fields of this name, in lower case (RFC 5228 §2.7.2)."""
        found = self._texts.get(name)
        if found is None:
            values = self._header.all(name.encode("utf-8", "replace"))
            found = self._texts[name] = [storable(decode_words(one)).strip() for one in values]
        return found

    def normal(self, name: str, normal: Normal) -> list[str]:
        """The same as a comparator sees them."""
        found = self._normal.get((name, normal))
        if found is None:
            found = self._normal[name, normal] = [normal(one) for one in self.texts(name)]
        return found

    def addresses(self, name: str) -> list[Halves]:
        """All addresses of all fields of this name; those inside of groups too."""
        found = self._addresses.get(name)
        if found is None:
            found = self._addresses[name] = [
                Halves(decode_text(one.local_part or b""), decode_text(one.domain))
                for value in self._header.all(name.encode("utf-8", "replace"))
                for one in parse_addresses(value).addresses
                if one.domain is not None
            ]
        return found

    @cached_property
    def _parts(self) -> list[Part]:
        return list(scan(self._content).root.walk())

    def raw_body(self) -> str:
        """`body :raw`: undecoded (RFC 5173 §5.1)."""
        start = header_end(self._content)
        return decode_text(self._content[start : start + MAX_BODY_OCTETS])

    def content_bodies(self, kinds: list[str]) -> list[str]:
        """`body :content`: the decoded bodies of parts of these types (RFC 5173 §5.2)."""
        return [self._body(part) for part in self._parts if _is_one_of(part, kinds)]

    def text_bodies(self) -> list[str]:
        """`body :text`: what a person would read (RFC 5173 §5.3)."""
        return self.content_bodies(["text"])

    def _body(self, part: Part) -> str:
        if part.is_multipart or part.is_message:
            # RFC 5173 §5.2: of these, what is around the parts; we look at the header inside.
            inside = part.children[0] if part.children else part
            stop = inside.body_start if part.is_message else inside.start
            return decode_text(self._content[part.body_start : stop])
        data = bytes(self._content[part.body_start : part.end][:MAX_BODY_OCTETS])
        try:
            data = decode_transfer(data, part.encoding)
        except UnknownEncoding:
            return decode_text(data)
        return storable(decode_text(data, part.charset))


def _is_one_of(part: Part, kinds: list[str]) -> bool:
    for kind in kinds:
        wanted, slash, subtype = kind.lower().partition("/")
        # RFC 5173 §5.2: nothing matches all; without a slash, the main type.
        if not kind or (part.type == wanted and (not slash or part.subtype == subtype)):
            return True
    return False
