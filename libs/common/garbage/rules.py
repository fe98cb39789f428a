"""How patient the collector is, and what one pass of it did."""

from __future__ import annotations

from dataclasses import dataclass, field

MARGIN_SECONDS = 600.0
"""Kept between the watermark of a queue and what counts as taken from it (rule 2)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Ages and shares, as the settings give them."""

    after_seconds: float
    """Younger records are not looked at: an accept or an APPEND may be unfinished."""
    wait_seconds: float
    """Between the mark and the second look."""
    grace_seconds: float
    """In the trash, before the third look and the deletion."""
    compact_below: float
    """Segments with a smaller share of needed octets are compacted; 0: none is."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many segments, and how many octets they have."""

    segments: int = 0
    octets: int = 0


@dataclass(slots=True)
class Pass:
    """What one pass did; of a dry run, what it would have done."""

    forgotten: int = 0
    """Rows of messages that nothing needs."""
    moved: int = 0
    """Records that compaction moved."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By step: live, pinned, damaged, marked, waiting, compacted, spared, trashed, trash,
    deleted."""

    def count(self, step: str, octets: int) -> None:
        """One more segment."""
        old = self.tallies.get(step, Tally())
        self.tallies[step] = Tally(old.segments + 1, old.octets + octets)
