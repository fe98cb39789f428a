"""What both backends count; an operator sees the same names whichever keeps the bytes."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

_PUTS = Counter("holub_blobstore_puts_total", "Records put.", ["result"])
STORED = _PUTS.labels("stored")
FAILED = _PUTS.labels("failed")
GROUP_SIZE = Histogram(
    "holub_blobstore_group_size",
    "Records that shared one sync or one PUT.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
FSYNCS = Counter("holub_blobstore_fsyncs_total", "Calls of fsync and fdatasync.")
SECONDS = Histogram("holub_blobstore_put_seconds", "From put to durable.")
DAMAGED = Counter(
    "holub_blobstore_damaged_total", "Records or segments that an index could not list."
)
