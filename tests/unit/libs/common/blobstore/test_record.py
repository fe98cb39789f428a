"""The layout of records: what is accepted, what is torn, what is damaged."""

from __future__ import annotations

import pytest

from libs.common.blobstore import record
from libs.common.blobstore.protocol import BlobCorrupt


def _scan(raw: bytes) -> list[record.Found]:
    return list(record.scan(lambda at, length: raw[at : at + length], len(raw)))


def _segment(*contents: bytes) -> bytes:
    return b"".join(part for c in contents for part in record.encode(b"h:" + c[:3], c))


@pytest.mark.parametrize("content", [b"", b"\0", b"x" * 1000])
def test_content_begins_at_a_constant_distance(content: bytes) -> None:
    raw = b"".join(record.encode(b"header", content))

    assert record.PRELUDE == 32
    assert raw[record.PRELUDE : record.PRELUDE + len(content)] == content
    assert record.decode(raw).content == content


def test_the_content_is_not_copied() -> None:
    content = b"x" * 1000

    assert record.encode(b"h", content)[1] is content


def test_every_flipped_bit_is_found() -> None:
    raw = _segment(b"content")

    for at in range(len(raw)):
        for bit in range(8):
            changed = raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
            with pytest.raises(BlobCorrupt):
                record.decode(changed)


def test_a_scan_of_every_prefix_finds_the_whole_records_and_nothing_else() -> None:
    raw = _segment(b"one", b"", b"three" * 50)
    ends = [found.end for found in _scan(raw)]
    assert ends[-1] == len(raw)

    for size in range(len(raw) + 1):
        assert [found.end for found in _scan(raw[:size])] == [end for end in ends if end <= size]


def test_a_scan_gives_headers_and_sizes() -> None:
    found = _scan(_segment(b"one", b"three"))

    assert [(item.header, item.lengths.content) for item in found] == [(b"h:one", 3), (b"h:thr", 5)]


def test_a_damaged_prelude_ends_the_scan_and_what_a_message_contains_is_no_record() -> None:
    """A message may carry a forged record; a search for the next one would believe it."""
    raw = bytearray(_segment(_segment(b"forged"), b"behind"))
    raw[5] ^= 1

    assert _scan(bytes(raw)) == []


@pytest.mark.parametrize("zeroes", [1, 31, 32, 5000])
def test_zeroes_behind_the_last_record_are_not_records(zeroes: int) -> None:
    raw = _segment(b"one")

    assert [found.end for found in _scan(raw + bytes(zeroes))] == [len(raw)]
