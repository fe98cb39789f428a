"""What all sessions of the process share, and how they end."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libs.common.accounts.authenticator import Authenticator
from libs.common.db import Database
from services.managesieve.settings import ManageSieveSettings

if TYPE_CHECKING:
    from services.managesieve.connection import Connection


@dataclass(slots=True)
class Gateway:
    """One per process."""

    settings: ManageSieveSettings
    database: Database
    authenticator: Authenticator
    tls: ssl.SSLContext | None
    connections: set[Connection] = field(default_factory=set)
    stopping: bool = False

    @property
    def full(self) -> bool:
        """No room for another session."""
        return self.stopping or len(self.connections) >= self.settings.max_connections

    async def drain(self) -> None:
        """Let commands under way finish."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()
        end = time.monotonic() + self.settings.drain_seconds
        while self.connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
