from __future__ import annotations

import pytest

from libs.common.jobs import Verdict
from libs.common.runtime.settings import SettingsError
from services.filter import engine
from services.filter.engine import Score, Turn
from services.filter.settings import FilterSettings
from services.filter.spam import of_score, open_engines
from services.filter.thresholds import Thresholds


@pytest.mark.parametrize(
    ("points", "verdict"),
    [(-3, "accept"), (5.99, "accept"), (6, "junk"), (10, "quarantine"), (15, "reject")],
)
def test_the_most_severe_threshold_that_is_reached_counts(points: float, verdict: str) -> None:
    limits = Thresholds.parse("junk=6, quarantine=10, reject=15")

    assert limits.verdict(points) == verdict


def test_what_is_not_named_never_happens() -> None:
    assert Thresholds.parse("").verdict(10_000) is Verdict.ACCEPT
    assert Thresholds.parse("junk=5").verdict(10_000) is Verdict.JUNK


@pytest.mark.parametrize(
    "text", ["spam=5", "junk=", "junk=nan", "junk=inf", "junk=5,junk=6", "junk=9,reject=5", "5"]
)
def test_wrong_thresholds_are_named_at_the_start(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLUB_FILTER_RSPAMD_SCORES", text)

    with pytest.raises(SettingsError, match="HOLUB_FILTER_RSPAMD_SCORES"):
        FilterSettings.load()


def test_thresholds_are_shown_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLUB_FILTER_SPAMD_SCORES", "junk=4.5,reject=12")

    settings: FilterSettings = FilterSettings.load()

    assert str(settings.spamd_scores) == "junk=4.5,reject=12"
    assert settings.model_dump(mode="json")["spamd_scores"] == "junk=4.5,reject=12"


def test_a_rule_of_a_stranger_cannot_put_fields_into_the_message() -> None:
    tests = ("A\r\nX-Evil: yes", "B" * 500, *(f"RULE_{n}" for n in range(50)))

    field = of_score(Score("rspamd", 7, tests), Thresholds(junk=6)).prefix

    lines = field.split("\r\n")
    assert lines[0].startswith("X-Spam-Status: Yes, score=7.0 engine=rspamd tests=A?X-Evil")
    assert all(line.startswith(" ") for line in lines[1:-1])
    assert max(map(len, lines)) <= 80
    assert "RULE_49" in field


@pytest.mark.parametrize("kind", ["rspamd", "spamd"])
async def test_a_wrong_url_is_answered_with_the_right_form(kind: str) -> None:
    settings = FilterSettings.load(**{kind: "ftp://x"})

    with pytest.raises(ValueError, match=f"HOLUB_FILTER_{kind.upper()}: write"):
        async with open_engines(settings):
            pass


def test_after_a_failure_a_daemon_rests_and_then_one_question_tries_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(engine.time, "monotonic", lambda: now)
    turn = Turn(patience=8)
    assert turn.take()
    turn.failed()
    assert not turn.take()

    now += engine.REST_SECONDS + 0.1
    assert turn.take()
    assert not turn.take()

    turn.answered()
    assert turn.take()
    assert turn.take()
