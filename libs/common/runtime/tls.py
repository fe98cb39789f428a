"""TLS contexts for listeners."""

from __future__ import annotations

import ssl
from pathlib import Path

from libs.common.runtime.settings import PlatformSettings, SettingsError


def server_context(settings: PlatformSettings) -> ssl.SSLContext | None:
    """A context for TLS 1.2 and later from the certificate files, or None without any.

    `SettingsError` names the file that cannot be read.
    """
    if not settings.tls_certificate:
        return None
    for path in (settings.tls_certificate, settings.tls_key):
        if not Path(path).is_file():
            raise SettingsError(f"HOLUB_TLS_CERTIFICATE/HOLUB_TLS_KEY: no such file: {path!r}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context
