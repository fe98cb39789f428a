from __future__ import annotations

import pytest

from services.relay.dane import parse_tlsa
from services.relay.tls_policy import Tlsa


def test_a_record_is_three_numbers_and_data() -> None:
    assert parse_tlsa(bytes([3, 1, 1]) + b"d" * 32) == Tlsa(3, 1, 1, b"d" * 32)
    assert parse_tlsa(bytes([2, 0, 2]) + b"d" * 64) == Tlsa(2, 0, 2, b"d" * 64)
    assert parse_tlsa(bytes([3, 0, 0]) + b"whole") == Tlsa(3, 0, 0, b"whole")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        bytes([3, 1, 1]),
        bytes([0, 0, 1]) + b"d" * 32,
        bytes([1, 0, 1]) + b"d" * 32,
        bytes([3, 2, 1]) + b"d" * 32,
        bytes([3, 1, 3]) + b"d" * 32,
        bytes([3, 1, 1]) + b"d" * 31,
        bytes([3, 1, 2]) + b"d" * 32,
    ],
)
def test_what_is_of_no_use_for_mail_is_passed_over(wire: bytes) -> None:
    assert parse_tlsa(wire) is None
