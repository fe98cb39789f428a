"""`holub rescan --since`: what may be written there."""

from __future__ import annotations

import pytest
import typer

from services.cli.rescan import moment

NOW = 1_795_500_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", NOW - 1800),
        ("1.5h", NOW - 5400),
        ("7d", NOW - 604800),
        ("2026-11-23T08:00", 1795420800.0),
        ("2026-11-23 10:00:00+02:00", 1795420800.0),
        ("2026-11-23", 1795392000.0),
        ("1795420800", 1795420800.0),
    ],
)
def test_a_span_or_a_time(text: str, seconds: float) -> None:
    assert moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "24", "h", "-1h", "24 hours", "1795420800.0.1"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30m, 24h, 7d"):
        moment(text, NOW)
