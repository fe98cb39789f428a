"""Frames: jobs that wait together travel as one, because a message costs more than its jobs.

A frame is a version octet and a msgpack array of jobs.  Callers of the queue never see frames.
A frame that cannot be read raises `FrameError`: it is put aside and reported, never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

MAX_JOBS = 64
MAX_OCTETS = 64 * 1024
"""A frame holds at most this many jobs and octets of bodies (one larger job travels alone)."""
_VERSION = b"\x01"


class FrameError(Exception):
    """These octets are no frame that this version can read."""


class FramedJob(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A job on its way; fields are only ever added at the end, with a default."""

    body: bytes
    put_at: float
    """Unix time of the first put; a requeue keeps it, so that age means age."""
    attempt: int = 0
    suspect: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[FramedJob])


def encode(jobs: Sequence[FramedJob]) -> bytes:
    """One frame of these jobs."""
    return _VERSION + _encoder.encode(jobs)


def decode(raw: bytes) -> list[FramedJob]:
    """The jobs of a frame, at least one; `FrameError`."""
    if raw[:1] != _VERSION:
        raise FrameError(f"frame of unknown version {raw[:1].hex() or 'none'}")
    try:
        jobs = _decoder.decode(memoryview(raw)[1:])
    except msgspec.MsgspecError as error:
        raise FrameError(f"unreadable frame: {error}") from error
    if not jobs:
        raise FrameError("frame without jobs")
    return jobs
