"""The two ports of a role that speaks with clients: plain text, and TLS from the start."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import Protocol

from services.platform import Platform, StartError

BACKLOG = 1024


def port_in_use(setting: str, port: int, error: OSError) -> StartError:
    """The line for a listener that cannot be opened."""
    why = "is in use by another program" if error.errno == errno.EADDRINUSE else str(error)
    return StartError(f"port {port} {why}; free it, or set {setting} to another port")


class Serve(Protocol):
    """Speaks with one client until it is gone."""

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool
    ) -> None:
        """`tls`: the connection is protected already."""
        ...


class Ports(Protocol):
    """The settings of such a role; a port of 0 is not opened."""

    @property
    def host(self) -> str:
        """The address of both."""
        ...

    @property
    def port(self) -> int:
        """Plain text."""
        ...

    @property
    def tls_port(self) -> int:
        """TLS."""
        ...


async def listen(
    platform: Platform, role: str, serve: Serve, ports: Ports, context: ssl.SSLContext | None
) -> list[asyncio.Server]:
    """Both ports, the second one only with a certificate; a port in use is a `StartError`."""
    wanted: list[tuple[str, int, str, ssl.SSLContext | None]]
    wanted = [(role, ports.port, f"HOLUB_{role.upper()}_PORT", None)]
    if context is not None:
        wanted.append((f"{role}s", ports.tls_port, f"HOLUB_{role.upper()}_TLS_PORT", context))
    return [
        await _open(platform, serve, name, ports.host, port, setting, tls)
        for name, port, setting, tls in wanted
        if port
    ]


async def _open(
    platform: Platform,
    serve: Serve,
    name: str,
    host: str,
    port: int,
    setting: str,
    context: ssl.SSLContext | None,
) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer, tls=context is not None)

    try:
        server = await asyncio.start_server(connected, host, port, ssl=context, backlog=BACKLOG)
    except OSError as error:
        raise port_in_use(setting, port, error) from error
    platform.note(name, f"{host}:{port}")
    return server
