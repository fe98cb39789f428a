"""The side file that tells, after the death of a process, which jobs it had in hand.

It is appended to without a sync: what was written survives the death of the process, which is
what makes suspects; after the death of the machine nobody is to blame.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Collection
from pathlib import Path

_OCTETS = struct.calcsize("<q")
_COMPACT_OCTETS = 1 << 20


class Held:
    """Ids that are handed out (positive) and given back (negative), in order."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        self._octets = os.fstat(self._fd).st_size
        self._ids: set[int] = set()

    def read(self) -> set[int]:
        """What the last process had in hand (some of it may be done by now)."""
        raw = os.pread(self._fd, self._octets, 0)
        held: set[int] = set()
        # A torn last number is possible when the disk was full.
        for (number,) in struct.iter_unpack("<q", raw[: len(raw) // _OCTETS * _OCTETS]):
            if number > 0:
                held.add(number)
            else:
                held.discard(-number)
        return held

    def take(self, ids: Collection[int]) -> None:
        """These are handed out."""
        self._ids.update(ids)
        self._note(ids)

    def release(self, ids: Collection[int]) -> None:
        """These are settled, or given back."""
        self._ids.difference_update(ids)
        self._note([-number for number in ids])

    def _note(self, ids: Collection[int]) -> None:
        if self._octets > _COMPACT_OCTETS:
            self.forget()
            ids = self._ids
        # A full disk must not stop the work: what is lost is a suspicion, never a job.
        with contextlib.suppress(OSError):
            self._octets += os.write(self._fd, struct.pack(f"<{len(ids)}q", *ids))

    def forget(self) -> None:
        """Empty the file."""
        os.ftruncate(self._fd, 0)
        self._octets = 0

    def close(self) -> None:
        """A clean end: nothing is in hand any more."""
        self.forget()
        os.close(self._fd)
