"""What all sessions of the process share, and how they end."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libs.common.accounts.authenticator import Authenticator
from libs.common.mailstore import MailStore
from services.pop3.settings import Pop3Settings

if TYPE_CHECKING:
    from services.pop3.connection import Connection


@dataclass(slots=True)
class Gateway:
    """One per process."""

    settings: Pop3Settings
    store: MailStore
    authenticator: Authenticator
    tls: ssl.SSLContext | None
    connections: set[Connection] = field(default_factory=set)
    stopping: bool = False

    @property
    def full(self) -> bool:
        """No room for another session."""
        return self.stopping or len(self.connections) >= self.settings.max_connections

    async def drain(self) -> None:
        """Let replies under way finish; a session that ends so deletes nothing."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()
        end = time.monotonic() + self.settings.drain_seconds
        while self.connections and time.monotonic() < end:
            await asyncio.sleep(0.02)
