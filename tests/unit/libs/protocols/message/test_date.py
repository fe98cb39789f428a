"""Dates in header fields and in IMAP."""

from __future__ import annotations

import math

import pytest

from libs.protocols.message.date import (
    Moment,
    format_date,
    format_internaldate,
    parse_date,
    parse_internaldate,
)

NOON = 880127706.0
"""Fri, 21 Nov 1997 15:55:06 UTC."""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", Moment(NOON, -360)),
        ("21 Nov 97 09:55:06 -0600", Moment(NOON, -360)),
        ("Fri, 21 Nov 1997 09(comment):55(x):06 -0600 (CST)", None),
        ("Fri, 21 Nov 1997 09:55:06 -0600 (CST)", Moment(NOON, -360)),
        ("Fri (day), 21 Nov 1997 15:55:06 GMT", None),
        ("Fri, 21 Nov 1997 15:55:06 +0000", Moment(NOON, 0)),
        ("Fri, 21 Nov 1997 15:55:06", Moment(NOON, 0)),
        ("Fri,21 Nov 1997 15:55:06 UT", Moment(NOON, 0)),
        ("Friday, 21-Nov-97 15:55:06 GMT", Moment(NOON, 0)),
        ("21 November 1997 10:55:06 EST", Moment(NOON, -300)),
        ("21 Nov 1997 15.55.06 Z", Moment(NOON, 0)),
        ("Fri Nov 21 15:55:06 1997", Moment(NOON, 0)),
        ("Fri Nov 21 08:55:06 PDT 1997", Moment(NOON, -420)),
        ("21 Nov 1997 15:55 +0000", Moment(NOON - 6, 0)),
        ("21 Nov 1997 15:55:60 +0000", Moment(NOON + 53, 0)),
        ("21 Nov 097 15:55:06 +0000", Moment(NOON, 0)),
        ("21 Nov 1997 15:55:06 +9999", Moment(NOON, 0)),
        ("21 Nov 49 00:00:00 +0000", Moment(2521065600.0, 0)),
    ],
)
def test_dates_are_read_in_all_their_forms(text: str, moment: Moment | None) -> None:
    if moment is not None:
        assert parse_date(text) == moment
        assert parse_date(text.encode()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "31 Feb 2020 10:00:00 +0000",
        "21 Foo 1997 15:55:06 +0000",
        "21 Nov 1997 25:00:00 +0000",
        "21 Nov 1997 15:55:61 +0000",
        "21 Nov 0000 15:55:06 +0000",
        "\0\xff",
        "1" * 100_000,
        "(" * 100_000,
    ],
)
def test_what_is_no_date_gives_none(text: str) -> None:
    assert parse_date(text) is None


def test_a_date_is_written_as_the_standard_says() -> None:
    assert format_date(NOON, -360) == "Fri, 21 Nov 1997 09:55:06 -0600"
    assert format_date(NOON + 0.9) == "Fri, 21 Nov 1997 15:55:06 +0000"


def test_an_internaldate_is_written_and_read() -> None:
    text = format_internaldate(NOON - 15 * 86_400, 60)

    assert text == " 6-Nov-1997 16:55:06 +0100"
    assert parse_internaldate(text) == Moment(NOON - 15 * 86_400, 60)
    assert parse_internaldate(b"17-Jul-1996 02:44:25 -0700") == Moment(837596665.0, -420)
    assert parse_internaldate(b"17-Jul-96 02:44:25 -0700") is None


@pytest.mark.parametrize("epoch", [-1e30, 1e30, -math.inf, math.inf])
def test_times_out_of_the_calendar_are_written_as_its_ends(epoch: float) -> None:
    assert len(format_date(epoch)) == len("Fri, 21 Nov 1997 09:55:06 -0600")
