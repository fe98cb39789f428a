"""Relay's wiring."""

from __future__ import annotations

import asyncio
import os
import secrets

from libs.common.dns import Resolver, open_resolver
from libs.common.dns.signed import SignedResolver
from services.platform import Platform
from services.relay.attempt import Attempter
from services.relay.dane import Dane
from services.relay.key_keeper import KeyKeeper
from services.relay.mx import MxRoute
from services.relay.next_hop import parse_logins
from services.relay.relay import QUEUE, Relay
from services.relay.route import Routes
from services.relay.settings import RelaySettings
from services.relay.signing import Signing
from services.relay.smtp_client import Connections, Timeouts
from services.relay.tls import TlsContexts
from services.relay.tls_policy import parse_levels


async def run(platform: Platform) -> None:
    """Work until the platform stops, then finish what is in hand."""
    settings: RelaySettings = RelaySettings.load()
    connections = Connections(
        settings.hostname,
        Timeouts(
            settings.connect_seconds,
            settings.command_seconds,
            settings.block_seconds,
            settings.dot_seconds,
        ),
        TlsContexts(settings.tls_authorities),
        idle_seconds=settings.idle_seconds,
        most_messages=settings.messages_per_connection,
    )
    resolver = open_resolver(platform.settings.dns_servers)
    sealer = await platform.sealer()
    attempter = Attempter(
        platform.blobs,
        connections,
        _routes(resolver, settings, platform.settings.dns_servers),
        seconds=settings.attempt_seconds,
        signing=Signing(platform.database, sealer) if settings.dkim else None,
    )
    keeper = KeyKeeper(platform.database, sealer, resolver, settings)
    owner = f"{settings.hostname}:{os.getpid()}:{secrets.token_hex(4)}"
    relay = Relay(platform.database, platform.blobs, attempter, settings, owner)
    worker = platform.worker(QUEUE, relay.handle, most=settings.at_once)
    aside = [
        asyncio.create_task(relay.poll_for_ever()),
        asyncio.create_task(relay.renew_for_ever()),
        asyncio.create_task(_tidy(connections, settings.idle_seconds)),
        asyncio.create_task(relay.open_when(platform.stopping)),
        *([asyncio.create_task(keeper.work_for_ever())] if settings.dkim else []),
    ]
    all_others = settings.fixed_routes.get("*")
    platform.note(QUEUE, f"next hop {all_others}" if all_others else "next hops by MX records")
    platform.ready(QUEUE)
    try:
        await worker.run(platform.stopping)
        aside[0].cancel()
        await relay.drain(platform.settings.drain_seconds * 0.7)
    finally:
        for task in aside:
            task.cancel()
        await asyncio.gather(*aside, return_exceptions=True)
        await relay.watermark.close()
        await connections.close()
        await resolver.close()


def _routes(resolver: Resolver, settings: RelaySettings, servers: str) -> Routes:
    levels = parse_levels(settings.tls)
    signed = SignedResolver([item.strip() for item in servers.split(",") if item.strip()])
    by_dns = MxRoute(
        resolver,
        settings.hostname,
        port=settings.port,
        allow_private=settings.allow_private,
        levels=levels,
        dane=Dane(signed) if settings.dane else None,
    )
    logins = parse_logins(settings.logins.get_secret_value())
    return Routes(settings.fixed_routes, by_dns, levels=levels, logins=logins)


async def _tidy(connections: Connections, every: float) -> None:
    while True:
        await asyncio.sleep(max(every, 1.0))
        await connections.tidy()
