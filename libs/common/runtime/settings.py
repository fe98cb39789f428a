"""Settings: one frozen class for the platform and one for each role, read once at the start.

Every knob is an environment variable `HOLUB_...`; its docstring is its documentation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """Wrong settings: the list of all that is wrong, one line each."""


def settings_config(role: str = "") -> SettingsConfigDict:
    """The configuration that all settings classes share; `role` gives the prefix."""
    prefix = f"HOLUB_{role}_" if role else "HOLUB_"
    return SettingsConfigDict(env_prefix=prefix, frozen=True, use_attribute_docstrings=True)


class HolubSettings(BaseSettings):
    """What all settings classes derive from."""

    model_config = settings_config()

    @classmethod
    def load(cls, **values: Any) -> Any:
        """Read the environment; `SettingsError` lists everything that is wrong."""
        prefix = cls.model_config.get("env_prefix", "")
        wrong = [f"{name}: no such setting" for name in cls._unknown(prefix, os.environ)]
        try:
            settings = cls(**values)
        except ValidationError as error:
            wrong += [
                f"{prefix}{'_'.join(str(at) for at in e['loc']).upper()}: {e['msg']}"
                + ("" if cls._is_secret(e["loc"]) else f" (it is {e['input']!r})")
                for e in error.errors()
            ]
        if wrong:
            raise SettingsError("\n".join(wrong))
        return settings

    @classmethod
    def _is_secret(cls, at: Sequence[int | str]) -> bool:
        """Whether the value of this field must not be shown."""
        field = cls.model_fields.get(str(at[0])) if at else None
        return field is not None and field.annotation is SecretStr

    @classmethod
    def _unknown(cls, prefix: str, environment: Any) -> list[str]:
        # A misspelt knob must not be silently without effect.  The platform's prefix is a part of
        # everybody's, so only a role's own prefix can be checked.
        if prefix == "HOLUB_":
            return []
        known = {f"{prefix}{name}".upper() for name in cls.model_fields}
        return sorted(n for n in environment if n.startswith(prefix) and n not in known)


class PlatformSettings(HolubSettings):
    """What every role needs: the three backends, DNS, health, TLS, logs."""

    model_config = settings_config()

    database_url: str = "sqlite:///var/holub.db"
    """Metadata: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`."""

    queue_url: str = "sqlite:///var/queue.db"
    """Jobs: `sqlite:///PATH` or `amqp://USER:PASSWORD@HOST:PORT/VHOST`."""

    blob_url: str = "file:var/blobs"
    """Content: `file:PATH` or `s3://KEY:SECRET@HOST:PORT/BUCKET?region=R&http=1`."""

    secret: SecretStr = SecretStr("")
    """What private keys in the database are sealed with: 32 random characters or more, the same
    for all roles, kept apart from the database and its backups.  Several by commas: the first one
    seals, all of them open.  Empty: a secret in the database itself, which protects single rows
    that get lost, but not a database that is stolen as a whole."""

    dns_servers: str = ""
    """Comma-separated `ADDRESS[:PORT]` of the resolvers that are asked; empty: the system's."""

    health_host: str = "127.0.0.1"
    """Address of the health and metrics listener."""

    health_port: int = Field(default=9090, ge=0, le=65535)
    """Its port; 0 turns it off."""

    tls_certificate: str = ""
    """PEM file with the certificate chain of all listeners; empty: no TLS.  Files that change are
    read again within ten seconds, without a restart."""

    tls_key: str = ""
    """PEM file with its private key."""

    tls_folder: str = ""
    """A folder of further certificates, for clients that ask for other names (SNI): each a folder
    with `tls.crt` and `tls.key`, as cert-manager's secrets are mounted."""

    log_level: str = "info"
    """debug, info, warning or error."""

    log_format: str = "json"
    """json, or console for people."""

    otlp_endpoint: str = ""
    """OpenTelemetry collector that takes traces, `http://HOST:4318`; empty: none are made."""

    recoverable_days: float = Field(default=14, ge=0)
    """How long expunged mail can be had back (`holub recoverable`); 0: not at all."""

    drain_seconds: float = Field(default=10, gt=0)
    """How long roles may take to finish what they have in hand after SIGTERM."""

    database_pool: int = Field(default=8, ge=1, le=100)
    """Connections to PostgreSQL in one process."""

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        items = [item.strip() for item in value.get_secret_value().split(",") if item.strip()]
        if any(len(item) < 32 for item in items):
            raise ValueError("each secret must have 32 characters or more: openssl rand -hex 32")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value
