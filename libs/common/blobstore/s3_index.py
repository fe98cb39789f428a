"""The end of a segment object: an index of its records, so that one ranged read lists them.

index    MessagePack: [offset, length, size of content, header] for each record
footer   12 octets: CRC-32 of the index, its length, a magic word
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgspec

from libs.common.blobstore.protocol import BlobCorrupt

_FOOTER = struct.Struct("<II4s")
_MAGIC = b"HIX1"
FOOTER = _FOOTER.size
"""Octets at the very end that say where the index begins."""


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A record in an object's index."""

    offset: int
    length: int
    size: int
    header: bytes


def encode_index(listed: Sequence[Listed]) -> bytes:
    """Index and footer, to stand behind the records."""
    raw = msgspec.msgpack.encode(list(listed))
    return raw + _FOOTER.pack(zlib.crc32(raw), len(raw), _MAGIC)


def index_length(tail: bytes) -> int:
    """How long index and footer are together; `BlobCorrupt` when there is no footer."""
    if len(tail) < FOOTER:
        raise BlobCorrupt("the object is too short for an index")
    _, length, magic = _FOOTER.unpack(tail[-FOOTER:])
    if magic != _MAGIC:
        raise BlobCorrupt("the object has no index; is it one of ours?")
    return int(length) + FOOTER


def decode_index(raw: bytes) -> list[Listed]:
    """Index and footer, verified."""
    crc, length, _ = _FOOTER.unpack(raw[-FOOTER:])
    body = raw[:-FOOTER]
    if len(body) != length or zlib.crc32(body) != crc:
        raise BlobCorrupt("the index of the object does not match its checksum")
    try:
        return msgspec.msgpack.decode(body, type=list[Listed])
    except msgspec.MsgspecError as error:
        raise BlobCorrupt(f"the index of the object is not one: {error}") from error
