"""Imap's wiring."""

from __future__ import annotations

import asyncio

from libs.common.mailstore import MailStore
from libs.common.runtime.tls import server_context
from services.__main__ import port_in_use
from services.imap.connection import serve
from services.imap.gateway import Gateway
from services.imap.settings import ImapSettings
from services.platform import Platform

ROLE = "imap"


async def run(platform: Platform) -> None:
    """Listen until the platform stops, then say BYE."""
    settings: ImapSettings = ImapSettings.load()
    store = MailStore(
        platform.database,
        platform.blobs,
        platform.queue,
        recoverable_seconds=platform.settings.recoverable_days * 86400,
    )
    tls = server_context(platform.settings)
    gateway = Gateway(settings, store, platform.authenticator(), tls)
    gateway.start()
    servers = [await _listen(gateway, settings.port, "HOLUB_IMAP_PORT", platform, tls=False)]
    if tls is not None:
        name = "HOLUB_IMAP_TLS_PORT"
        servers.append(await _listen(gateway, settings.tls_port, name, platform, tls=True))
    platform.ready(ROLE)
    await platform.stopping.wait()
    for server in servers:
        if server is not None:
            server.close()
    await gateway.drain()
    await gateway.close()


async def _listen(
    gateway: Gateway, port: int, setting: str, platform: Platform, *, tls: bool
) -> asyncio.Server | None:
    if not port:
        return None

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(gateway, reader, writer, tls=tls)

    host = gateway.settings.host
    try:
        server = await asyncio.start_server(
            connected, host, port, ssl=gateway.tls if tls else None, backlog=1024
        )
    except OSError as error:
        raise port_in_use(setting, port, error) from error
    platform.note("imaps" if tls else ROLE, f"{host}:{port}")
    return server
