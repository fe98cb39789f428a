"""What a blob store promises, whichever backend keeps the bytes.

Content is kept as *records*, and records that wait together share a *segment*, so that
one fsync or one PUT makes many messages durable.  A record is opaque to the store but
for its layout (`record.py`): a prelude of fixed size, the content, a header, checksums.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec


class BlobRef(msgspec.Struct, frozen=True, array_like=True):
    """Where one record lies: `length` octets of `segment` from `offset`."""

    segment: str
    """`mail/<yyyy>/<mm>/<dd>/<hh>/<segment_id>`: time-ordered, in UTC."""
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Record:
    """One stored record, verified against its size, CRC and SHA-256."""

    header: bytes
    content: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A record as the sweeper lists it: where it is and its header, without the content."""

    ref: BlobRef
    header: bytes
    size: int
    """Octets of content."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as it is listed."""

    key: str
    octets: int


class BlobError(Exception):
    """The store cannot do this now; nothing is known to be wrong with the data."""


class BlobMissing(BlobError):
    """There is no such segment, or it ends before the record does."""


class BlobCorrupt(BlobError):
    """The bytes are there and do not match their checksums."""


class Spool(Protocol):
    """Content too large for memory: a file that knows its size and its SHA-256."""

    size: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The content from its start, in blocks of at most 1 MiB."""
        ...


class BlobStore(Protocol):
    """Durable, append-only storage of records.

    Every method raises `BlobError` when the backend does not answer in time.
    """

    async def put(self, header: bytes, content: bytes | Spool, *, key: str) -> BlobRef:
        """Store one record; on return it is durable.

        Concurrent puts share one fsync or PUT; an idle store commits at once.  `key`
        (the `mail_id`) names the record to a read-back after an unknown result, which
        the backend does by itself before it raises.
        """
        ...

    async def read(self, ref: BlobRef) -> Record:
        """One whole record, verified; `BlobCorrupt` when it does not match."""
        ...

    async def read_range(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Octets [start, stop) of the *content* of a record, unverified."""
        ...

    def index(self, hour: datetime) -> AsyncIterator[IndexEntry]:
        """Every record of the segments of one hour (UTC), in no promised order."""
        ...

    async def hours(self) -> list[datetime]:
        """The hours that hold segments, ascending (UTC)."""
        ...

    async def segments(self, hour: datetime) -> list[Segment]:
        """The segments of one hour (UTC), in no promised order."""
        ...

    async def records(self, segment: str) -> list[IndexEntry]:
        """Every record of one segment.

        `BlobCorrupt` when some of its octets belong to no record that can be read: whoever
        deletes a segment must not take what is readable for all that there is.
        """
        ...

    def blocks(self, segment: Segment) -> AsyncIterator[bytes]:
        """A segment's records side by side, in blocks of a few MiB.

        Without what a backend keeps beside them; a torn tail may come last.
        """
        ...

    async def adopt(self, segment: str, records: Path) -> None:
        """Keep a file of whole records as a segment that is not there yet; durable on return."""
        ...

    async def delete(self, segment: str) -> None:
        """Remove a segment; removing what is not there is success."""
        ...

    async def close(self) -> None:
        """Finish what is under way and release files and connections."""
        ...
