"""The transport under a session: lines in, replies out, one timer, TLS on top when asked.

Kept of aiosmtpd: the protocol on asyncio streams and its handling of a connection's life.  Ours:
one timer for a session, the replies to all commands of one read in one write (RFC 2920).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiosmtpd.smtp import SMTP

from libs.common.accounts.exchange import channel_bindings
from libs.common.runtime.log import get_logger
from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.reply import Refusal, Reply

log = get_logger(__name__)
MAX_AUTH_LINE = 12288
"""Octets of AUTH's lines (RFC 4954 §4)."""
READ_LIMIT = 256 * 1024


class Connection(SMTP):
    """Speaks lines with one client; what they mean is the session's business."""

    line_length_limit = READ_LIMIT

    def __init__(self, timeout_seconds: float, handshake_seconds: float, *, tls: bool) -> None:
        # Not SMTP.__init__: it looks its methods up by inspection for every connection (1 ms).
        loop = asyncio.get_running_loop()
        self.loop = loop
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=READ_LIMIT, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.event_handler = None
        self.handshake_seconds = handshake_seconds
        self._timeout_duration = timeout_seconds
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._tls_handshake_okay = True
        self._tls_protocol = None
        self._original_transport = None
        self._handler_coroutine = None
        self.session = None
        self.envelope = None
        self.transport: Any = None
        self.tls = tls
        self.claimed_ip = ""
        self.draining = False
        self._idle = False
        self._out: list[bytes] = []

    # What aiosmtpd calls.

    def eof_received(self) -> bool:
        """A client that half-closes after its dot still wants the reply."""
        asyncio.StreamReaderProtocol.eof_received(self)
        return not self.tls

    def _reset_timeout(self, duration: float | None = None) -> None:
        # Called for every line: the one timer of a session looks when it was last heard of.
        self._heard_at = self.loop.time()
        if self._timeout_handle is None:
            delay = duration or self._timeout_duration
            self._timeout_handle = self.loop.call_later(delay, self._timeout_cb)

    def _timeout_cb(self) -> None:
        now = self.loop.time()
        left = self._heard_at + self._timeout_duration - now
        reply = replies.IDLE if left <= 0 else self.too_slow(now)
        if reply is None:
            self._timeout_handle = self.loop.call_later(left, self._timeout_cb)
        elif self.transport is not None:
            self._writer.write(reply.encode())
            self.transport.close()

    def too_slow(self, now: float) -> Reply | None:
        """Why a client that does say something now and then is not waited for."""
        return None

    async def _handle_client(self) -> None:
        try:
            await self.converse()
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass  # The client is gone; what it was told 250 for is stored.
        except ssl.SSLError as error:
            log.info("TLS failed", peer=self.ip, error=str(error))
        finally:
            if self.transport is not None:
                self.transport.close()

    async def converse(self) -> None:
        """The whole conversation; the session has it."""
        raise NotImplementedError

    # Who it is.

    @property
    def ip(self) -> str:
        """The client's address, as a PROXY header or XCLIENT of a listed peer may name it."""
        return self.claimed_ip or self.peer_ip

    @property
    def peer_ip(self) -> str:
        """The address at the other end of the connection."""
        peer: Any = getattr(self.session, "peer", None)
        return str(peer[0]) if isinstance(peer, tuple) and peer else "127.0.0.1"

    @property
    def cipher(self) -> str:
        """`TLSv1.3 TLS_AES_256_GCM_SHA384`, or empty without TLS."""
        if not self.tls:
            return ""
        cipher = self.transport.get_extra_info("cipher") if self.transport else None
        return f"{cipher[1]} {cipher[0]}" if cipher else "TLS"

    @property
    def bindings(self) -> dict[str, bytes]:
        """What SCRAM's -PLUS can be bound to."""
        secure = self.transport.get_extra_info("ssl_object") if self.tls else None
        return channel_bindings(secure)

    # In.

    @property
    def open(self) -> bool:
        """Is there still somebody to speak with?"""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def has_input(self) -> bool:
        """Has the client said more than was read?"""
        return bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def next_line(self) -> bytes | None:
        """The next command line; None to hang up.  Replies are sent first when none is there."""
        if b"\n" not in self._reader._buffer:  # type: ignore[attr-defined]
            await self.flush()
            if self.draining:
                await self.send(replies.SHUTTING_DOWN)
                return None
        self._idle = True
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            await self.send(Reply(500, "5.5.6", "command line too long"))
            return None
        finally:
            self._idle = False
        self._reset_timeout()
        return line

    async def ask(self, challenge: bytes) -> bytes:
        """Send a 334 challenge; the client's line without its CRLF (RFC 4954 §4)."""
        self._out.append(b"334 " + challenge + b"\r\n")
        await self.flush()
        line = await self._reader.readuntil(b"\n")
        self._reset_timeout()
        if len(line) > MAX_AUTH_LINE:
            raise Refusal(Reply(500, "5.5.6", "line too long"))
        return line.rstrip(b"\r\n")

    async def read(self, octets: int) -> bytes:
        """At least one octet of content, and at most this many."""
        if not self._reader._buffer:  # type: ignore[attr-defined]
            await self.flush()
        block = await self._reader.read(octets)
        if not block:
            raise asyncio.IncompleteReadError(b"", None)
        self._reset_timeout()
        return block

    def give_back(self, octets: bytes) -> None:
        """What was read too far is read again."""
        self._reader._buffer[:0] = octets  # type: ignore[attr-defined]

    # Out.

    def say(self, reply: Reply) -> None:
        """Queue a reply; it goes out when no further command waits (RFC 2920 §3.2)."""
        self._out.append(reply.encode())

    async def flush(self) -> None:
        """Send the replies that wait, in one write."""
        if self._out:
            self._writer.write(b"".join(self._out))
            self._out.clear()
            await self._writer.drain()

    async def send(self, reply: Reply) -> None:
        """Send this reply now, after those that wait."""
        self._out.append(reply.encode())
        await self.flush()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake, after our 220."""
        transport = self.transport
        transport.pause_reading()
        # What came before the handshake was not protected, and may have been slipped in by
        # somebody else: away with it (RFC 3207 §4.2, CVE-2011-0411).
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        seconds = self.handshake_seconds
        try:
            secure = await self.loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=seconds
            )
        except OSError:
            # The loop tells of the end of a connection only after a handshake: so we do, or the
            # session would be counted for ever.
            self.loop.call_soon(self.connection_lost, None)
            raise
        self.transport = secure
        self._reader._transport = secure  # type: ignore[attr-defined]
        self._writer._transport = secure  # type: ignore[attr-defined]
        self.tls = True

    def drain(self) -> None:
        """Say 421 now when nothing is under way, else after it."""
        self.draining = True
        if self._idle and self.transport is not None:
            self._writer.write(replies.SHUTTING_DOWN.encode())
            self.transport.close()
