"""Where content ends: the tests that name SMTP smuggling (CVE-2023-51764 and its kin)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.smtp.data import DataDecoder, stuff


def decode(*blocks: bytes) -> tuple[bytes, DataDecoder]:
    decoder = DataDecoder()
    content = b""
    for block in blocks:
        if decoder.done:
            decoder.rest += block
        else:
            content += decoder.feed(block)
    return content, decoder


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r.\r\n", b"\n\n.\r\n", b"\0.\r\n"],
)
def test_only_crlf_dot_crlf_ends_the_content(end: bytes) -> None:
    data = b"hello" + end + b"MAIL FROM:<boss@ours.example>\r\n"
    for split in range(len(data) + 1):
        _, decoder = decode(data[:split], data[split:])

        assert not decoder.done


@pytest.mark.parametrize(
    "content", [b"", b"one\r\n", b".\r\n", b"..a\r\n.b\r\n", b"\r\n\r\n", b"a\r\n.\r\nb\r\n"]
)
def test_content_comes_back_at_every_split(content: bytes) -> None:
    data = stuff(content) + b"QUIT\r\n"
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            got, decoder = decode(data[:first], data[first:second], data[second:])

            assert got == content
            assert decoder.done
            assert decoder.rest == b"QUIT\r\n"


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_octets_without_an_end_are_never_an_end(blocks: list[bytes]) -> None:
    data = b"".join(blocks)
    content, decoder = decode(*blocks)

    assert decoder.done == (b"\r\n.\r\n" in b"\r\n" + data)
    if decoder.done:
        whole = b"\r\n" + data
        assert whole.split(b"\r\n.\r\n", 1)[1] == decoder.rest
    assert len(content) <= len(data)


@given(
    st.lists(st.sampled_from([b"a", b".", b"\r\n", b"..", b"text"]), max_size=30),
    st.integers(1, 7),
)
def test_stuffing_and_decoding_are_inverse(parts: list[bytes], size: int) -> None:
    content = b"".join(parts)
    if not content.endswith(b"\r\n") and content:
        content += b"\r\n"
    data = stuff(content)

    got, decoder = decode(*(data[i : i + size] for i in range(0, len(data), size)))

    assert got == content
    assert decoder.done
