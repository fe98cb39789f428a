"""Ingress's wiring."""

from __future__ import annotations

import asyncio

from libs.common.accounts import Directory
from libs.common.dns import open_resolver
from libs.common.trace import TraceWriter
from services.ingress.allowance import Allowance
from services.ingress.commit import Commit
from services.ingress.engines import Engines
from services.ingress.listener import LISTENERS, Listener
from services.ingress.peers import parse_networks
from services.ingress.proxied import ProxiedListener
from services.ingress.screen.screen import Screen
from services.ingress.server import Server
from services.ingress.session import Session
from services.ingress.settings import IngressSettings, MxSettings
from services.ingress.unpublished import Unpublished
from services.ingress.verdicts import Verdicts
from services.listening import port_in_use
from services.platform import Platform

ROLE = "ingress"
VERDICT_GRACE_SECONDS = 3.0
"""How long a drain waits for verdicts, of the ten seconds that it has."""


async def run(platform: Platform) -> None:
    """Listen until the platform stops, then drain."""
    settings: IngressSettings = IngressSettings.load()
    engines = Engines(platform.queue)
    verdicts = Verdicts(platform.queue, platform.database, engines)
    trace = TraceWriter(platform.database)
    unpublished = Unpublished(platform.blobs, platform.queue, platform.database, settings)
    commit = Commit(
        platform.blobs, platform.queue, platform.database, verdicts, unpublished, settings
    )
    directory = Directory(platform.database)
    screen = _screen(platform, settings.hostname, directory)
    server = Server(
        settings,
        directory,
        await platform.authenticator(),
        commit,
        Allowance(directory, platform.limits, settings),
        trace,
        platform.tls(),
        screen,
        engines,
    )
    engines.start()
    await verdicts.start()
    unpublished.start()
    sockets = [s for item in LISTENERS if (s := await _open(server, item, platform))]
    platform.ready(ROLE)
    await platform.stopping.wait()
    for socket in sockets:
        socket.close()
    # A verdict that is not here by then would outlast the drain, and the client hear nothing.
    hurry = asyncio.get_running_loop().call_later(VERDICT_GRACE_SECONDS, verdicts.give_up)
    await server.drain()
    hurry.cancel()
    if screen is not None:
        await screen.close()
    await unpublished.close()
    await verdicts.close()
    await engines.close()
    await trace.close()


def _screen(platform: Platform, hostname: str, directory: Directory) -> Screen | None:
    settings: MxSettings = MxSettings.load()
    if settings.ask_nothing:
        return None
    resolver = open_resolver(platform.settings.dns_servers)
    platform.limits.start()
    screen = Screen(settings, hostname, directory, platform.database, platform.limits, resolver)
    screen.start()
    return screen


async def _open(
    server: Server, listener: Listener, platform: Platform
) -> asyncio.Server | ProxiedListener | None:
    port: int = getattr(server.settings, listener.port_setting)
    if not port or (listener.implicit_tls and server.tls is None):
        return None
    try:
        socket = await listen(server, listener, port)
    except OSError as error:
        name = f"HOLUB_INGRESS_{listener.port_setting.upper()}"
        raise port_in_use(name, port, error) from error
    platform.note(listener.name, f"{server.settings.host}:{port}")
    return socket


async def listen(server: Server, listener: Listener, port: int) -> asyncio.Server | ProxiedListener:
    """A socket whose clients get a session each."""
    tls = server.tls if listener.implicit_tls else None

    def session(ip: str = "") -> Session:
        return Session(server, listener, tls=listener.implicit_tls, ip=ip)

    if listener.name in server.settings.proxied:
        networks = parse_networks(server.settings.proxy_networks)
        seconds = server.settings.handshake_seconds
        return ProxiedListener(server.settings.host, port, networks, session, tls, seconds)
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        session,
        server.settings.host,
        port,
        ssl=tls,
        ssl_handshake_timeout=server.settings.handshake_seconds if tls else None,
    )
