"""What this installation is called, from the settings of api."""

from __future__ import annotations

from libs.common.admin.doctor import Site
from services.api.settings import ApiSettings


def _words(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def site_of() -> Site:
    """The site that the doctor and the DNS records are about."""
    settings: ApiSettings = ApiSettings.load()
    return Site(
        settings.mail_host.lower(),
        _words(settings.egress_addresses),
        _words(settings.dnsbls),
        settings.mta_sts_mode,
        settings.mail_host_port,
    )
