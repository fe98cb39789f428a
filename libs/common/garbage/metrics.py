"""What the collector tells Prometheus."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge

from libs.common.garbage.rules import Pass, Tally

_SEGMENTS = Counter(
    "holub_gc_segments_total",
    "Segments by what garbage collection did: marked, compacted, spared, trashed, deleted.",
    ["step"],
)
_OCTETS = Counter("holub_gc_octets_total", "Octets of these segments.", ["step"])
_FORGOTTEN = Counter("holub_gc_forgotten_total", "Rows of messages that nothing needed.")
_MOVED = Counter("holub_gc_moved_total", "Records that compaction moved.")
_STORED = Gauge(
    "holub_gc_stored_octets",
    "Octets of segments as the last pass found them: live, pinned, damaged, waiting, trash.",
    ["state"],
)
_FINISHED = Gauge("holub_gc_finished_timestamp_seconds", "When the last pass came to its end.")
_DONE = ("marked", "compacted", "spared", "trashed", "deleted")
_FOUND = ("live", "pinned", "damaged", "waiting", "trash")


def record(done: Pass) -> None:
    """One pass, at its end."""
    _FORGOTTEN.inc(done.forgotten)
    _MOVED.inc(done.moved)
    for step in _DONE:
        tally = done.tallies.get(step, Tally())
        _SEGMENTS.labels(step).inc(tally.segments)
        _OCTETS.labels(step).inc(tally.octets)
    for state in _FOUND:
        _STORED.labels(state).set(done.tallies.get(state, Tally()).octets)
    _FINISHED.set(time.time())
