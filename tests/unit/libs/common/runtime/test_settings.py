from __future__ import annotations

import pytest

from libs.common.runtime.settings import PlatformSettings, SettingsError


def test_a_secret_that_is_too_short_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLUB_SECRET", "hunter2")

    with pytest.raises(SettingsError, match="32 characters") as refused:
        PlatformSettings.load()

    assert "hunter2" not in str(refused.value)


def test_any_other_value_is_shown_with_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLUB_HEALTH_PORT", "99999")

    with pytest.raises(SettingsError, match=r"HOLUB_HEALTH_PORT.*99999"):
        PlatformSettings.load()
