"""Managesieve's wiring."""

from __future__ import annotations

from functools import partial

from prometheus_client import Gauge

from libs.protocols.managesieve.wire import response
from services import conversation
from services.managesieve.connection import Connection
from services.managesieve.gateway import Gateway
from services.managesieve.settings import ManageSieveSettings
from services.platform import Platform

ROLE = "managesieve"
SESSIONS = Gauge("holub_managesieve_sessions", "Open sessions.")
CROWDED = response("BYE", "too many connections; try again later", "TRYLATER")


async def run(platform: Platform) -> None:
    """Listen until the platform stops."""
    settings: ManageSieveSettings = ManageSieveSettings.load()
    tls = platform.tls()
    gateway = Gateway(settings, platform.database, await platform.authenticator(), tls)
    make = partial(Connection, gateway)
    await conversation.run(platform, ROLE, gateway, make, crowded=CROWDED, sessions=SESSIONS)
