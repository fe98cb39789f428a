"""SRS: what goes out in our name, and comes back to whom it belongs."""

from __future__ import annotations

import pytest

from libs.common.accounts.srs import DAY, MAX_LOCAL_PART, Srs, looks_like_srs, origin_of

SECRET = b"x" * 32
NOW = 1_700_000_000.0
SRS = Srs(SECRET, frozenset({"ours.example"}))
THROUGH = "anna@ours.example"


def made(address: str = "You+tag@Elsewhere.example") -> str:
    return SRS.forwarded(address, THROUGH, NOW)


def test_the_original_address_comes_back_as_it_was() -> None:
    assert made().endswith("@ours.example")
    assert looks_like_srs(made())
    assert origin_of(SECRET, made(), NOW + DAY) == "You+tag@Elsewhere.example"


@pytest.mark.parametrize("address", ["", "bob@ours.example", "bob@OURS.example"])
def test_the_null_path_and_our_own_domains_stay(address: str) -> None:
    assert made(address) == address


def test_a_local_part_that_is_too_long_for_others_is_not_made() -> None:
    assert made("x" * 60 + "@elsewhere.example") == THROUGH
    longest = made("x" * 29 + "@elsewhere.example")
    assert len(longest.partition("@")[0]) == MAX_LOCAL_PART


def test_case_may_be_lost_on_the_way() -> None:
    assert origin_of(SECRET, made().upper(), NOW) == "YOU+TAG@ELSEWHERE.EXAMPLE"


@pytest.mark.parametrize(
    "address",
    [
        made().replace("You", "Another"),
        made().replace("@ours.example", "@other.example"),
        made().replace("Elsewhere", "Nowhere"),
        "SRS0=AAAAAAAA=AA=a.example=x@ours.example",
        "SRS0=x@ours.example",
        "anna@ours.example",
    ],
)
def test_nobody_else_makes_such_an_address(address: str) -> None:
    """We would be an open relay (I8)."""
    assert origin_of(SECRET, address, NOW) is None
    assert origin_of(b"y" * 32, made(), NOW) is None


def test_it_is_valid_for_three_weeks() -> None:
    assert origin_of(SECRET, made(), NOW + 21 * DAY) is not None
    assert origin_of(SECRET, made(), NOW + 22 * DAY) is None
    assert origin_of(SECRET, made(), NOW - DAY) is not None
    assert origin_of(SECRET, made(), NOW - 2 * DAY) is None
