"""The layout of a record, version 1.

    prelude   32 octets: magic, version, flags, length of header and content, CRC-32 of these
    content   exactly as received
    header    opaque to the store (JSON, libs.common.jobs.record)
    trailer   36 octets: SHA-256 of the content, CRC-32 of prelude, header and SHA-256

The header stands behind the content, so content begins at a constant distance from the record.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from libs.common.blobstore.protocol import BlobCorrupt, Record

_PRELUDE = struct.Struct("<4sHHIQ8xI")
_CRC = struct.Struct("<I")
PRELUDE = _PRELUDE.size
"""Octets before the content."""
TRAILER = 32 + _CRC.size
MAGIC = b"HREC"
VERSION = 1
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a prelude says."""

    header: int
    content: int

    @property
    def record(self) -> int:
        """Octets of the whole record."""
        return PRELUDE + self.content + self.header + TRAILER


def prelude(header_length: int, content_length: int) -> bytes:
    """The first octets of a record."""
    packed = _PRELUDE.pack(MAGIC, VERSION, 0, header_length, content_length, 0)
    return packed[: -_CRC.size] + _CRC.pack(zlib.crc32(packed[: -_CRC.size]))


def trailer(head: bytes, header: bytes, sha256: bytes) -> bytes:
    """The last octets of a record; `head` is its prelude."""
    return sha256 + _CRC.pack(zlib.crc32(sha256, zlib.crc32(header, zlib.crc32(head))))


def encode(header: bytes, content: bytes) -> list[bytes]:
    """A record as parts to be written one after the other; the content is not copied."""
    head = prelude(len(header), len(content))
    return [head, content, header, trailer(head, header, hashlib.sha256(content).digest())]


def read_lengths(head: bytes) -> Lengths | None:
    """What the prelude says, or None when it is torn or not one of ours."""
    if len(head) < PRELUDE:
        return None
    magic, version, _, header, content, crc = _PRELUDE.unpack_from(head)
    if magic != MAGIC or version != VERSION:
        return None
    if crc != zlib.crc32(head[: PRELUDE - _CRC.size]):
        return None
    return Lengths(header, content)


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record that a scan came upon."""

    offset: int
    lengths: Lengths
    header: bytes | None
    """None: the header or its checksum is damaged, but the record's extent is sure."""

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + self.lengths.record


def scan(read: Callable[[int, int], bytes], size: int) -> Iterator[Found]:
    """Walk the records of a segment of `size` octets; stop at the first torn one.

    `read(start, length)` gives octets; contents are skipped.  After damage in a prelude
    nothing is searched for: a message may contain what looks like a record.
    """
    at, head = 0, read(0, PRELUDE)
    while (lengths := read_lengths(head)) and at + lengths.record <= size:
        # Header, trailer and the next prelude lie side by side: one read for each record.
        header_at = at + PRELUDE + lengths.content
        raw = read(header_at, lengths.header + TRAILER + PRELUDE)
        header, tail = raw[: lengths.header], raw[lengths.header : lengths.header + TRAILER]
        whole = trailer(head, header, tail[:32]) == tail
        yield Found(at, lengths, header if whole else None)
        at, head = at + lengths.record, raw[lengths.header + TRAILER :]


def matches(read: Callable[[int, int], bytes], found: Found) -> bool:
    """Whether a record that a scan found is what was written, its content read in blocks."""
    if found.header is None:
        return False
    start = found.offset + PRELUDE
    end, sha256 = start + found.lengths.content, hashlib.sha256()
    for at in range(start, end, _BLOCK):
        sha256.update(read(at, min(_BLOCK, end - at)))
    return sha256.digest() == read(found.end - TRAILER, 32)


def decode(raw: bytes) -> Record:
    """A whole record, verified; `BlobCorrupt` says what does not match."""
    lengths = read_lengths(raw[:PRELUDE])
    if lengths is None:
        raise BlobCorrupt("the prelude of the record is damaged")
    if len(raw) != lengths.record:
        raise BlobCorrupt(f"the record has {len(raw)} octets instead of {lengths.record}")
    content = raw[PRELUDE : PRELUDE + lengths.content]
    header = raw[PRELUDE + lengths.content : -TRAILER]
    sha256 = hashlib.sha256(content).digest()
    if trailer(raw[:PRELUDE], header, sha256) != raw[-TRAILER:]:
        raise BlobCorrupt("the record does not match its checksums")
    return Record(header, content, sha256)
