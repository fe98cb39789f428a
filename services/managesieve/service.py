"""Managesieve's wiring."""

from __future__ import annotations

import asyncio
from functools import partial

from prometheus_client import Gauge

from libs.common.runtime.log import get_logger
from libs.common.runtime.tls import server_context
from libs.protocols.managesieve.wire import response
from services.listening import listen
from services.managesieve.connection import GONE, Connection
from services.managesieve.gateway import Gateway
from services.managesieve.settings import ManageSieveSettings
from services.platform import Platform

ROLE = "managesieve"
log = get_logger(__name__)
SESSIONS = Gauge("holub_managesieve_sessions", "Open sessions.")


async def run(platform: Platform) -> None:
    """Listen until the platform stops."""
    settings: ManageSieveSettings = ManageSieveSettings.load()
    tls = server_context(platform.settings)
    gateway = Gateway(settings, platform.database, await platform.authenticator(), tls)
    SESSIONS.set_function(lambda: len(gateway.connections))
    servers = await listen(platform, ROLE, partial(_serve, gateway), settings, tls)
    platform.ready(ROLE)
    await platform.stopping.wait()
    for server in servers:
        server.close()
    await gateway.drain()


async def _serve(
    gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool
) -> None:
    connection = Connection(gateway, reader, writer, tls=tls)
    try:
        if gateway.full:
            writer.write(response("BYE", "too many connections; try again later", "TRYLATER"))
            return
        gateway.connections.add(connection)
        await connection.serve()
    except GONE:
        pass  # The client is gone.
    except Exception:
        log.exception("session failed", peer=connection.ip)
    finally:
        gateway.connections.discard(connection)
        writer.close()
