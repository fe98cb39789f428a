"""Api's wiring."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from services.api.application import make_application
from services.api.settings import ApiSettings
from services.listening import port_in_use
from services.platform import Platform

ROLE = "api"


async def run(platform: Platform) -> None:
    """Serve until the platform stops."""
    settings: ApiSettings = ApiSettings.load()
    if not settings.port:
        platform.ready(ROLE)
        await platform.stopping.wait()
        return
    config = uvicorn.Config(
        make_application(
            platform,
            settings.max_body_octets,
            max_import_octets=settings.max_import_octets,
            max_mail_octets=settings.max_mail_octets,
        ),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(platform.settings.drain_seconds),
        lifespan="off",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
    )
    server = uvicorn.Server(config)
    listening = _listen(settings)
    # Signals are the platform's; uvicorn must not take them for itself.
    serving = asyncio.create_task(server._serve(sockets=[listening]))
    platform.note(ROLE, f"http://{settings.host}:{settings.port}")
    platform.ready(ROLE)
    stop = asyncio.create_task(platform.stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    server.should_exit = True
    await serving


def _listen(settings: ApiSettings) -> socket.socket:
    try:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
    except OSError as error:
        raise port_in_use("HOLUB_API_PORT", settings.port, error) from error
    return listening
