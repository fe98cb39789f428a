"""The client's connection: buffered writes, reads with a bound on time, and STARTTLS."""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from typing import Any

from prometheus_client import Counter

_FLUSH_OCTETS = 256 * 1024
_READ = 64 * 1024
# Half the usual window and hash table: 64 KiB for a connection, where 256 would be usual.
_WINDOW_BITS, _MEMORY_LEVEL = -13, 6
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
        self._deflate: Any = None
        self._inflate: Any = None
        # Before login all reads together are bounded, or one octet now and then held a connection.
        self._deadline: float | None = time.monotonic() + login_seconds

    def trust(self) -> None:
        """The client has logged in: only each single wait is bounded from now on."""
        self._deadline = None

    def add(self, data: bytes) -> None:
        """Send this with the next flush."""
        if data:
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
            if self._deflate is not None:
                data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            _SENT.inc(len(data))
            self._writer.write(data)
            try:
                async with asyncio.timeout(self._write_seconds):
                    await self._writer.drain()
            except TimeoutError as error:
                self.abort()
                raise ConnectionError("the client does not read") from error

    @property
    def compressed(self) -> bool:
        """Has COMPRESS begun?"""
        return self._deflate is not None

    @property
    def secure(self) -> ssl.SSLObject | None:
        """The TLS connection, when there is one."""
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    def compress(self, before: bytes) -> None:
        """From now on both directions are deflated (RFC 4978).

        `before`: what came behind the command, which is compressed already.
        """
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        self._inflate = zlib.decompressobj(-15)
        self._packed = before

    async def read(self, seconds: float) -> bytes:
        """The next octets; `TooSlow` when none come, `ConnectionError` at the end."""
        if self._inflate is None:
            return await self._receive(seconds)
        while True:
            packed = self._inflate.unconsumed_tail or self._packed or await self._receive(seconds)
            self._packed = b""
            try:
                # Never more at a time than an uncompressed read: a bomb goes off in small pieces.
                data: bytes = self._inflate.decompress(packed, _READ)
            except zlib.error as error:
                raise ConnectionError("not deflated") from error
            if data:
                return data
            if self._inflate.eof:
                raise ConnectionError("the client ended its compressed stream")

    async def _receive(self, seconds: float) -> bytes:
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
