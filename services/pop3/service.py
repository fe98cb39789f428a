"""Pop3's wiring."""

from __future__ import annotations

import asyncio

from prometheus_client import Gauge

from libs.common.mailstore import MailStore
from libs.common.runtime.log import get_logger
from libs.common.runtime.tls import server_context
from libs.protocols.pop3.reply import err
from services.__main__ import port_in_use
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
    store = MailStore(
        platform.database,
        platform.blobs,
        platform.queue,
        recoverable_seconds=platform.settings.recoverable_days * 86400,
    )
    tls = server_context(platform.settings)
    gateway = Gateway(settings, store, platform.authenticator(), tls)
    SESSIONS.set_function(lambda: len(gateway.connections))
    servers = [await _listen(gateway, settings.port, "HOLUB_POP3_PORT", platform, tls=False)]
    if tls is not None:
        name = "HOLUB_POP3_TLS_PORT"
        servers.append(await _listen(gateway, settings.tls_port, name, platform, tls=True))
    platform.ready(ROLE)
    await platform.stopping.wait()
    for server in servers:
        if server is not None:
            server.close()
    await gateway.drain()


async def _listen(
    gateway: Gateway, port: int, setting: str, platform: Platform, *, tls: bool
) -> asyncio.Server | None:
    if not port:
        return None

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(gateway, reader, writer, tls=tls)

    host = gateway.settings.host
    try:
        server = await asyncio.start_server(
            connected, host, port, ssl=gateway.tls if tls else None, backlog=1024
        )
    except OSError as error:
        raise port_in_use(setting, port, error) from error
    platform.note("pop3s" if tls else ROLE, f"{host}:{port}")
    return server


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
