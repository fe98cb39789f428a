"""Listeners behind a load balancer: each connection begins with a PROXY header, version 1 or 2.

The header is read from the socket, octet by octet where its length is not known, before any
transport exists: so what follows it is untouched, be it SMTP or the first octets of TLS.
A connection from a peer that is not listed, or without a header, is closed (S11): to believe
strangers would let them choose their address.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
from collections.abc import Callable

from aiosmtpd.proxy_protocol import ProxyData, get_proxy
from prometheus_client import Counter

from libs.common.runtime.log import get_logger
from services.ingress.peers import Networks, is_listed

log = get_logger(__name__)
_REFUSED = Counter("holub_ingress_proxy_refused_total", "Connections without a PROXY header.")
HEADER_SECONDS = 5.0
AT_ONCE = 1000
"""Connections whose header is awaited; further ones wait in the kernel."""
_BACKLOG = 1024


class _Octets:
    """Reads a socket without reading ahead, in the shape that aiosmtpd asks for."""

    def __init__(self, socket: sockets.socket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()

    async def read(self, n: int = 1) -> bytes:
        data = await self._loop.sock_recv(self._socket, n)
        if not data:
            raise ConnectionResetError("closed within the PROXY header")
        return data

    async def readexactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            data += await self.read(n - len(data))
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        data = b""
        while not data.endswith(separator):
            data += await self.read(1)
            if len(data) > 107:  # the longest header of version 1, by its specification
                raise ValueError("PROXY header too long")
        return data


class ProxiedListener:
    """Accepts connections, and makes a session of each that says for whom it comes."""

    def __init__(
        self,
        host: str,
        port: int,
        networks: Networks,
        session: Callable[[str], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        self.sockets = (sockets.create_server((host, port), backlog=_BACKLOG),)
        self.sockets[0].setblocking(False)
        self._networks = networks
        self._session = session
        self._tls = tls
        self._handshake_seconds = handshake_seconds if tls else None
        self._under_way: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._accepting.cancel()
        for task in self._under_way:
            task.cancel()
        self.sockets[0].close()

    async def _accept(self) -> None:
        loop, room = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)
        while True:
            await room.acquire()
            try:
                socket, peer = await loop.sock_accept(self.sockets[0])
            except OSError as error:  # no descriptors left, for one
                log.error("cannot accept", error=str(error))
                room.release()
                await asyncio.sleep(0.5)
                continue
            task = asyncio.create_task(self._begin(socket, peer[0]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            task.add_done_callback(lambda _: room.release())

    async def _begin(self, socket: sockets.socket, peer: str) -> None:
        try:
            ip = await self._client(socket, peer)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._session(ip),
                socket,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_seconds,
            )
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError) as error:
            _REFUSED.inc()
            log.info("no session", peer=peer, error=str(error) or "no PROXY header in time")
            socket.close()

    async def _client(self, socket: sockets.socket, peer: str) -> str:
        """The address that the header names, or that of the peer for its own health checks."""
        if not is_listed(peer, self._networks):
            raise ValueError("not one of HOLUB_INGRESS_PROXY_NETWORKS")
        async with asyncio.timeout(HEADER_SECONDS):
            data: ProxyData = await get_proxy(_Octets(socket))
        if not data.valid:
            raise ValueError(data.error or "PROXY header not understood")
        # LOCAL of version 2, UNKNOWN of version 1: the balancer speaks for itself.
        local = data.version == 2 and data.command == 0
        return peer if local or data.src_addr is None else str(data.src_addr)
