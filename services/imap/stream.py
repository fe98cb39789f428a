"""The client's connection: buffered writes, reads with a bound on time, and STARTTLS."""

from __future__ import annotations

import asyncio
import ssl
import time

from prometheus_client import Counter

_FLUSH_OCTETS = 256 * 1024
_READ = 64 * 1024
_RECEIVED = Counter("holub_imap_received_bytes_total", "Octets that clients sent.")
_SENT = Counter("holub_imap_sent_bytes_total", "Octets sent to clients.")


class TooSlow(ConnectionError):
    """The client said nothing for too long."""


class Stream:
    """Responses are collected and sent in one write; large ones are sent as they grow."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        login_seconds: float,
        write_seconds: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._out: list[bytes] = []
        self._octets = 0
        self._write_seconds = write_seconds
        # Before login all reads together are bounded, or one octet now and then held a connection.
        self._deadline: float | None = time.monotonic() + login_seconds

    def trust(self) -> None:
        """The client has logged in: only each single wait is bounded from now on."""
        self._deadline = None

    def add(self, data: bytes) -> None:
        """Send this with the next flush."""
        self._out.append(data)
        self._octets += len(data)

    @property
    def full(self) -> bool:
        """Is it time to flush in the middle of a long response?"""
        return self._octets >= _FLUSH_OCTETS

    async def flush(self) -> None:
        """Send what was added; waits while the client reads slowly, but not for ever."""
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._octets = 0
            _SENT.inc(len(data))
            self._writer.write(data)
            try:
                async with asyncio.timeout(self._write_seconds):
                    await self._writer.drain()
            except TimeoutError as error:
                self.abort()
                raise ConnectionError("the client does not read") from error

    async def read(self, seconds: float) -> bytes:
        """The next octets; `TooSlow` when none come, `ConnectionError` at the end."""
        if self._deadline is not None:
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(_READ)
        except TimeoutError as error:
            raise TooSlow("nothing was said") from error
        if not data:
            raise ConnectionError("the client hung up")
        _RECEIVED.inc(len(data))
        return data

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on under TLS; what was received before it is thrown away (RFC 9051 §6.2.1)."""
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        await self._writer.start_tls(context)

    def close(self) -> None:
        """End the connection after what was sent."""
        self._writer.close()

    def abort(self) -> None:
        """End the connection now."""
        self._out.clear()
        self._octets = 0
        self._writer.transport.abort()
