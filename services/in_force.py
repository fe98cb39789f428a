"""The settings in force, as `holub run ROLE --check` and the API show them: secrets hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from libs.common.runtime.settings import HolubSettings, PlatformSettings


@dataclass(frozen=True, slots=True)
class Setting:
    """One knob, as this process sees it."""

    name: str
    value: str
    default: bool
    """Nobody has set it."""
    help: str


def settings_in_force(roles: Sequence[str]) -> list[Setting]:
    """The platform's settings, then each role's; `SettingsError` lists what is wrong."""
    loaded: list[Any] = [PlatformSettings.load(), *(settings_of(role).load() for role in roles)]
    return [item for settings in loaded for item in _each(settings)]


def settings_of(role: str) -> type[HolubSettings]:
    """The settings class of a role."""
    module = import_module(f"services.{role}.settings")
    kinds = [v for v in vars(module).values() if isinstance(v, type)]
    return next(k for k in kinds if issubclass(k, HolubSettings) and k is not HolubSettings)


def _each(settings: Any) -> list[Setting]:
    prefix = settings.model_config["env_prefix"]
    return [
        Setting(
            f"{prefix}{name.upper()}",
            _shown(getattr(settings, name)),
            name not in settings.model_fields_set,
            " ".join((field.description or "").split()),
        )
        for name, field in type(settings).model_fields.items()
    ]


def _shown(value: Any) -> str:
    text = str(value)
    try:
        password = urlsplit(text).password
    except ValueError:
        password = None
    return text.replace(f":{password}@", ":***@") if password else text
