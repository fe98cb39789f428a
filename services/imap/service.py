"""Imap's wiring."""

from __future__ import annotations

from functools import partial

from services.imap.connection import serve
from services.imap.gateway import Gateway
from services.imap.settings import ImapSettings
from services.listening import listen
from services.platform import Platform

ROLE = "imap"


async def run(platform: Platform) -> None:
    """Listen until the platform stops, then say BYE."""
    settings: ImapSettings = ImapSettings.load()
    tls = platform.tls()
    gateway = Gateway(settings, platform.mailstore(), await platform.authenticator(), tls)
    gateway.start()
    servers = await listen(platform, ROLE, partial(serve, gateway), settings, tls)
    platform.ready(ROLE)
    await platform.stopping.wait()
    for server in servers:
        server.close()
    await gateway.drain()
    await gateway.close()
