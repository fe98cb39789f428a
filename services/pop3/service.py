"""Pop3's wiring."""

from __future__ import annotations

import asyncio
from functools import partial

from prometheus_client import Gauge

from libs.common.runtime.log import get_logger
from libs.common.runtime.tls import server_context
from libs.protocols.pop3.reply import err
from services.listening import listen
from services.platform import Platform
from services.pop3.connection import GONE, Connection
from services.pop3.gateway import Gateway
from services.pop3.settings import Pop3Settings

ROLE = "pop3"
log = get_logger(__name__)
SESSIONS = Gauge("holub_pop3_sessions", "Open sessions.")


async def run(platform: Platform) -> None:
    """Listen until the platform stops."""
    settings: Pop3Settings = Pop3Settings.load()
    tls = server_context(platform.settings)
    gateway = Gateway(settings, platform.mailstore(), await platform.authenticator(), tls)
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
            writer.write(err("too many connections; please try again later", "SYS/TEMP"))
            return
        gateway.connections.add(connection)
        await connection.serve()
    except GONE:
        pass  # The client is gone; without QUIT nothing was deleted.
    except Exception:
        log.exception("session failed", peer=connection.ip)
    finally:
        gateway.connections.discard(connection)
        writer.close()
