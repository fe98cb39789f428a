"""Pop3's wiring."""

from __future__ import annotations

from functools import partial

from prometheus_client import Gauge

from libs.protocols.pop3.reply import err
from services import conversation
from services.platform import Platform
from services.pop3.connection import Connection
from services.pop3.gateway import Gateway
from services.pop3.settings import Pop3Settings

ROLE = "pop3"
SESSIONS = Gauge("holub_pop3_sessions", "Open sessions.")
CROWDED = err("too many connections; please try again later", "SYS/TEMP")


async def run(platform: Platform) -> None:
    """Listen until the platform stops."""
    settings: Pop3Settings = Pop3Settings.load()
    tls = platform.tls()
    gateway = Gateway(settings, platform.mailstore(), await platform.authenticator(), tls)
    make = partial(Connection, gateway)
    await conversation.run(platform, ROLE, gateway, make, crowded=CROWDED, sessions=SESSIONS)
