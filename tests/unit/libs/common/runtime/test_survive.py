from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from libs.common.runtime.log import get_logger
from libs.common.runtime.survive import survive

log = get_logger(__name__)


def test_an_expected_failure_is_a_warning_and_any_other_shows_its_stack() -> None:
    with capture_logs() as lines:
        with survive(log, "waits", OSError):
            raise OSError("away")
        with survive(log, "waits", OSError):
            raise ZeroDivisionError

    assert [line["log_level"] for line in lines] == ["warning", "error"]
    assert lines[0]["error"] == "away"
    assert lines[1]["exc_info"]


def test_nobody_is_kept_from_ending_it() -> None:
    with pytest.raises(asyncio.CancelledError), survive(log, "waits"):
        raise asyncio.CancelledError
