"""Speaking with the clients of a small protocol: the socket, time limits, TLS, the end.

What pop3 and managesieve have in common.  What is said is the business of their sessions, which
do no I/O, and of their connections, which act on what these understood.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import Gauge

from libs.common.accounts.authenticator import Authenticator
from libs.common.accounts.exchange import channel_bindings
from libs.common.runtime.log import get_logger
from services.listening import Ports, listen
from services.platform import Platform

log = get_logger(__name__)
_READ = 16 * 1024
GONE = (ConnectionError, ssl.SSLError, TimeoutError)
"""How a client's end looks."""


class Limits(Ports, Protocol):
    """The settings of such a role."""

    max_connections: int
    write_seconds: float
    drain_seconds: float
    allow_plain_login: bool


class Session(Protocol):
    """The part of a protocol's session that any shell needs."""

    def data_to_send(self) -> bytes:
        """What is to be sent since the last time."""
        ...

    def restart(self) -> None:
        """TLS has begun: forget all that was said before."""
        ...


S = TypeVar("S", bound=Limits)


class Gateway(Generic[S]):
    """What all sessions of the process share, and how they end."""

    def __init__(
        self, settings: S, authenticator: Authenticator, tls: ssl.SSLContext | None
    ) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self.tls = tls
        self.conversations: set[Conversation] = set()
        self.stopping = False

    @property
    def full(self) -> bool:
        """No room for another session."""
        return self.stopping or len(self.conversations) >= self.settings.max_connections

    async def drain(self) -> None:
        """Let replies under way finish."""
        self.stopping = True
        for conversation in list(self.conversations):
            conversation.stop()
        end = time.monotonic() + self.settings.drain_seconds
        while self.conversations and time.monotonic() < end:
            await asyncio.sleep(0.02)


class Conversation:
    """Answers one client; `serve` has the words."""

    def __init__(
        self,
        shared: Gateway[Any],
        words: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tls: bool,
    ) -> None:
        self._shared = shared
        self._words = words
        self._reader = reader
        self._writer = writer
        self._tls = tls
        peer = writer.get_extra_info("peername")
        self.ip = str(peer[0]) if peer else ""
        self._waiting: asyncio.Task[bytes] | None = None

    async def serve(self) -> None:
        """Talk until one of us ends it."""
        raise NotImplementedError

    def stop(self) -> None:
        """We stop: whoever waits for a command is let go."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _receive(self, seconds: float) -> bytes:
        """The next octets; empty when the client is gone, too slow, or we stop."""
        self._waiting = asyncio.ensure_future(self._reader.read(_READ))
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting
        except TimeoutError:
            return b""
        except asyncio.CancelledError:
            if not self._shared.stopping:
                raise
            return b""
        finally:
            self._waiting = None

    async def _flush(self) -> None:
        if data := self._words.data_to_send():
            self._writer.write(data)
            async with asyncio.timeout(self._shared.settings.write_seconds):
                await self._writer.drain()

    @property
    def _login_allowed(self) -> bool:
        loopback = self.ip.startswith("127.") or self.ip == "::1"
        return self._tls or (loopback and self._shared.settings.allow_plain_login)

    @property
    def _bindings(self) -> dict[str, bytes]:
        return channel_bindings(self._writer.get_extra_info("ssl_object"))

    async def _protect(self, context: ssl.SSLContext) -> None:
        """The handshake, after our yes."""
        await self._flush()
        # What came after the command in plain text is thrown away, at both levels
        # (RFC 2595 §4, RFC 5804 §2.2).
        self._words.restart()
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        await self._writer.start_tls(context)
        self._tls = True


class Make(Protocol):
    """A protocol's own conversation with one client."""

    def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool
    ) -> Conversation:
        """`tls`: the connection is protected already."""
        ...


async def run(
    platform: Platform,
    role: str,
    gateway: Gateway[Any],
    make: Make,
    *,
    crowded: bytes,
    sessions: Gauge,
) -> None:
    """Listen until the platform stops; `crowded` is what those hear for whom there is no room."""
    sessions.set_function(lambda: len(gateway.conversations))
    serve: Callable[..., Any] = partial(_serve, gateway, make, crowded)
    servers = await listen(platform, role, serve, gateway.settings, gateway.tls)
    platform.ready(role)
    await platform.stopping.wait()
    for server in servers:
        server.close()
    await gateway.drain()


async def _serve(
    gateway: Gateway[Any],
    make: Make,
    crowded: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    tls: bool,
) -> None:
    conversation = make(reader, writer, tls=tls)
    try:
        if gateway.full:
            writer.write(crowded)
            return
        gateway.conversations.add(conversation)
        await conversation.serve()
    except GONE:
        pass  # The client is gone; of what it did not bring to an end nothing was done.
    except Exception:
        log.exception("session failed", peer=conversation.ip)
    finally:
        gateway.conversations.discard(conversation)
        writer.close()
