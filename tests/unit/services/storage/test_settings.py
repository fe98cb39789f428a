"""What the settings of storage refuse."""

from __future__ import annotations

import pytest

from libs.common.runtime.settings import SettingsError
from services.storage.settings import StorageSettings


def test_a_grace_shorter_than_backups_reach_back_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLUB_STORAGE_GC_GRACE_DAYS", "14")

    with pytest.raises(SettingsError, match="gc_grace_days must be more than gc_restore_days"):
        StorageSettings.load()


def test_the_defaults_outlast_them() -> None:
    rules = StorageSettings.load().garbage_rules()

    assert rules.grace_seconds == 30 * 86400
    assert rules.after_seconds > 0
    assert rules.wait_seconds > 0
