"""Frames: jobs that wait together travel as one AMQP message.

At most 64 jobs or 64 KiB; the jobs of some queues travel alone, since a frame is acked only when
its slowest job is.  A frame is MessagePack: a version, and for each job its body, how often it
was tried, when it was put, and whether its holder died.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from libs.common.queue.protocol import JOB_QUEUES_ONE_BY_ONE

MOST_JOBS = 64
MOST_OCTETS = 64 * 1024


class FramedJob(msgspec.Struct, frozen=True, array_like=True):
    """One job in a frame."""

    body: bytes
    put_at: float
    attempt: int = 0
    suspect: bool = False


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What one AMQP message holds."""

    jobs: list[FramedJob]
    ver: int = 1


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode(jobs: Sequence[FramedJob]) -> bytes:
    """The octets of a frame."""
    return _encoder.encode(Frame(list(jobs)))


def decode(raw: bytes) -> Frame:
    """Raises `msgspec.MsgspecError` when it is not one of ours."""
    return _decoder.decode(raw)


def split(queue: str, jobs: Sequence[FramedJob]) -> Iterator[list[FramedJob]]:
    """Jobs grouped into frames within the bounds."""
    alone = queue in JOB_QUEUES_ONE_BY_ONE
    frame: list[FramedJob] = []
    octets = 0
    for job in jobs:
        full = len(frame) >= MOST_JOBS or octets + len(job.body) > MOST_OCTETS
        # A job whose holder died may kill the next one too: it must not take others with it.
        if frame and (alone or full or job.suspect or frame[-1].suspect):
            yield frame
            frame, octets = [], 0
        frame.append(job)
        octets += len(job.body)
    if frame:
        yield frame
