"""How long a word of filter's holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.jobs import EngineNotice, encode
from libs.common.queue import open_queue
from services.ingress import engines as module
from services.ingress.engines import AWAY, HOLDS_SECONDS, PROBE_SECONDS, Engines

DOWN, UP = encode(EngineNotice(True, "no clamd")), encode(EngineNotice(False))
NOW = 1000.0


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    return Engines(open_queue(f"sqlite:///{tmp_path}/queue.db"))


def test_a_filter_that_died_refuses_nothing_for_long(engines: Engines) -> None:
    engines.hear(DOWN, NOW)

    assert engines.refusal(NOW + 1) is AWAY
    assert engines.refusal(NOW + HOLDS_SECONDS) is None


def test_a_scanner_that_is_back_is_used_at_once(engines: Engines) -> None:
    engines.hear(DOWN, NOW)
    engines.hear(UP, NOW + 1)

    assert engines.refusal(NOW + 1) is None


def test_now_and_then_one_message_is_let_through_to_see(engines: Engines) -> None:
    for second in range(8):
        engines.hear(DOWN, NOW + second)
    later = NOW + PROBE_SECONDS + 1

    assert [engines.refusal(later) for _ in range(3)] == [None, AWAY, AWAY]
    assert engines.refusal(later + PROBE_SECONDS) is None


def test_a_verdict_counts_more_than_what_one_filter_says(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica can scan."""
    monkeypatch.setattr(module.time, "monotonic", lambda: NOW)
    engines.hear(DOWN, NOW)
    engines.verdict_came()
    engines.hear(DOWN, NOW + 2)

    assert engines.refusal(NOW + 3) is None
