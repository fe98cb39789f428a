"""`holub run ROLE --check`: the settings in force, without starting anything."""

from __future__ import annotations

from collections.abc import Sequence

from services.__main__ import check_roles
from services.in_force import settings_in_force


def print_settings(names: Sequence[str]) -> None:
    """One `NAME=value` a line, passwords in URLs hidden; `SettingsError` lists what is wrong."""
    for item in settings_in_force(check_roles(names)):
        print(f"{item.name}={item.value}")
