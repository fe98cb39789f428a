from __future__ import annotations

import msgspec
import pytest

from libs.common.queue.frame import FramedJob, FrameError, decode, encode

JOBS = [FramedJob(b"first", 1.5), FramedJob(bytes(range(256)), 2.5, 3, suspect=True)]


def test_a_frame_gives_back_its_jobs() -> None:
    assert decode(encode(JOBS)) == JOBS


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        b"\x02" + encode(JOBS)[1:],
        encode(JOBS)[:-1],
        encode(JOBS) + b"\x00",
        encode([]),
        b"\x01\x91\x01",
        b"\x01\x91\x92\xa3str\x01",
    ],
)
def test_what_is_no_frame_is_an_error_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(FrameError):
        decode(raw)


def test_fields_that_a_newer_version_adds_at_the_end_are_passed_over() -> None:
    newer = b"\x01" + msgspec.msgpack.encode([[b"job", 1.0, 2, False, "new"]])

    assert decode(newer) == [FramedJob(b"job", 1.0, 2)]
