"""The knobs of api."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Literal

from pydantic import Field, field_validator

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

    max_mail_octets: int = Field(default=1 << 36, ge=1024)
    """The largest mbox that one request brings; it is taken as it comes."""

    mail_host: str = Field(default_factory=socket.getfqdn)
    """The name of the host that MX records lead to: for DNS records, MTA-STS, the doctor."""

    mail_host_port: int = Field(default=25, ge=1, le=65535)
    """Where the doctor greets it."""

    egress_addresses: str = ""
    """Comma-separated addresses from which mail is sent: the doctor checks their PTR and lists."""

    dnsbls: str = "zen.spamhaus.org,bl.spamcop.net"
    """Comma-separated block lists that the doctor asks about them."""

    mta_sts_mode: Literal["none", "testing", "enforce"] = "testing"
    """The mode of the MTA-STS policy that is served (RFC 8461 §5)."""

    trusted_proxies: str = ""
    """Comma-separated addresses of the proxies whose X-Forwarded-For names the client; empty:
    nobody's, the client is whoever connects.  `*` trusts everybody, and so must not be reachable
    but through the proxy."""

    @field_validator("egress_addresses")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for item in filter(None, map(str.strip, value.split(","))):
            ip_address(item)
        return value
