"""The knobs of the canary."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from libs.common.runtime.settings import HolubSettings, SettingsError, settings_config


class CanarySettings(HolubSettings):
    """Whose account it uses, and where it sends and reads."""

    model_config = settings_config("CANARY")

    address: str = Field(min_length=3, pattern="^[^@]+@[^@]+$")
    """An account of its own, e.g. `canary@example.org`: it sends to itself."""

    password: SecretStr = SecretStr("")
    """Of that account; an app password for smtp and imap is best."""

    password_file: str = ""
    """File that holds the password instead."""

    smtp_host: str = "127.0.0.1"
    """Where submission is."""

    smtp_port: int = Field(default=2587, ge=1, le=65535)
    """Its port."""

    imap_host: str = "127.0.0.1"
    """Where IMAP is."""

    imap_port: int = Field(default=2143, ge=1, le=65535)
    """Its port."""

    tls: Literal["starttls", "tls", "none"] = "starttls"
    """How both are protected; `none` for loopback addresses only."""

    authorities: str = ""
    """PEM file with the authorities of their certificates; empty: the system's."""

    every_seconds: float = Field(default=60, ge=1)
    """Time between the beginnings of two rounds."""

    arrival_seconds: float = Field(default=60, gt=0)
    """A message that cannot be read by then is late."""

    network_seconds: float = Field(default=15, gt=0)
    """How long a server may take to answer."""

    def secret(self) -> str:
        """The password, from wherever it is; `SettingsError` when there is none."""
        if not self.password_file:
            return self.password.get_secret_value()
        try:
            return Path(self.password_file).read_text().strip()
        except OSError as error:
            raise SettingsError(f"HOLUB_CANARY_PASSWORD_FILE: {error}") from error
