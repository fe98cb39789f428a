"""`holub run ROLE --check`: the settings in force, without starting anything."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from libs.common.runtime.settings import HolubSettings, PlatformSettings
from services.__main__ import check_roles


def print_settings(names: Sequence[str]) -> None:
    """One `NAME=value` a line, passwords in URLs hidden; `SettingsError` lists what is wrong."""
    settings: list[Any] = [PlatformSettings.load()]
    for role in check_roles(names):
        module = import_module(f"services.{role}.settings")
        kinds = [v for v in vars(module).values() if isinstance(v, type)]
        kind = next(k for k in kinds if issubclass(k, HolubSettings) and k is not HolubSettings)
        settings.append(kind.load())
    for item in settings:
        prefix = item.model_config["env_prefix"]
        for name in type(item).model_fields:
            print(f"{prefix}{name.upper()}={_shown(getattr(item, name))}")


def _shown(value: Any) -> str:
    text = str(value)
    try:
        password = urlsplit(text).password
    except ValueError:
        password = None
    return text.replace(f":{password}@", ":***@") if password else text
