"""The knobs of api."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


class ApiSettings(HolubSettings):
    """Where api listens."""

    model_config = settings_config("API")

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=8080, ge=0, le=65535)
    """The port; 0 turns the listener off."""

    max_body_octets: int = Field(default=1024 * 1024, ge=1024)
    """The largest request body."""

    max_import_octets: int = Field(default=64 * 1024 * 1024, ge=1024)
    """The largest file that /v1/import takes."""

    trusted_proxies: str = ""
    """Comma-separated addresses of the proxies whose X-Forwarded-For names the client; empty:
    nobody's, the client is whoever connects.  `*` trusts everybody, and so must not be reachable
    but through the proxy."""
