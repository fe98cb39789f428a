"""The client's connection: buffered writes, reads with a bound on time, and STARTTLS."""

from __future__ import annotations

import asyncio
import ssl

_FLUSH_OCTETS = 256 * 1024
_READ = 64 * 1024


class Stream:
    """Responses are collected and sent in one write; large ones are sent as they grow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._out: list[bytes] = []
        self._octets = 0

    def add(self, data: bytes) -> None:
        """Send this with the next flush."""
        self._out.append(data)
        self._octets += len(data)

    @property
    def full(self) -> bool:
        """Is it time to flush in the middle of a long response?"""
        return self._octets >= _FLUSH_OCTETS

    async def flush(self) -> None:
        """Send what was added; waits while the client reads slowly."""
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._octets = 0
            self._writer.write(data)
            await self._writer.drain()

    async def read(self, seconds: float) -> bytes:
        """The next octets; empty at the end; `TimeoutError` when none come."""
        async with asyncio.timeout(seconds):
            return await self._reader.read(_READ)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on under TLS; what was received before it is thrown away (RFC 9051 §6.2.1)."""
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        await self._writer.start_tls(context)

    def close(self) -> None:
        """End the connection."""
        self._writer.close()
