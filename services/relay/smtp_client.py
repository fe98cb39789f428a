"""Our side of SMTP: one connection, pipelined, with a time limit on everything (RFC 5321).

A connection is opened up to its EHLO (and STARTTLS when that is offered), and then carries one
transaction after the other.  Whatever it cannot go on from is a `ConnectionLost`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.relay.next_hop import Login, NextHop
from services.relay.reply import Answer, ReplyError, ReplyReader
from services.relay.tls import TlsContexts, Untrusted, check_dane
from services.relay.tls_policy import Level

READ_OCTETS = 65536
LAST_WORDS_SECONDS = 2.0


class ConnectionLost(Exception):
    """The connection is of no use any more; the text says why."""

    status = "4.4.1"


class TlsFailed(ConnectionLost):
    """There is no TLS as good as the policy asks for; another attempt may find it (I18)."""

    status = "4.7.5"


class LoginFailed(ConnectionLost):
    """The smarthost does not take our name and password."""

    status = "4.7.8"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds, see `RelaySettings`."""

    connect: float = 30
    command: float = 300
    block: float = 180
    dot: float = 600


class Connection:
    """One connection to one host, after its greeting."""

    def __init__(
        self, hop: NextHop, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, t: Timeouts
    ) -> None:
        self.hop = hop
        self.extensions: dict[str, str] = {}
        """What EHLO announced: keyword in upper case -> parameters."""
        self.tls = ""
        self.transactions = 0
        self.idle_since = 0.0
        self.dirty = False
        """A transaction was begun and not ended: RSET before the next one."""
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._timeouts = t
        self._replies = ReplyReader()

    @property
    def proven(self) -> bool:
        """TLS, and the host is the right one: its name is known, and it proved that name."""
        policy = self.hop.tls
        return bool(self.tls) and policy.level >= Level.VERIFY and policy.known_name

    @property
    def pipelining(self) -> bool:
        """Commands may be sent without waiting for replies (RFC 2920)."""
        return "PIPELINING" in self.extensions

    async def answer(self, seconds: float) -> Answer:
        """The next reply."""
        try:
            async with asyncio.timeout(seconds):
                while (answer := self._replies.next_answer()) is None:
                    data = await self._reader.read(READ_OCTETS)
                    if not data:
                        raise ConnectionLost("the host closed the connection")
                    self._replies.receive(data)
        except TimeoutError as error:
            raise ConnectionLost(f"no reply within {seconds:.0f} s") from error
        except ReplyError as error:
            raise ConnectionLost(str(error)) from error
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error}") from error
        if answer.code == 421:
            # RFC 5321 §3.8: it closes the channel, whatever we asked.
            raise ConnectionLost(str(answer))
        return answer

    async def commands(self, lines: Sequence[str]) -> list[Answer]:
        """Send a group of commands at once, and give their replies in order."""
        await self.write("".join(f"{line}\r\n" for line in lines).encode())
        return [await self.answer(self._timeouts.command) for _ in lines]

    async def command(self, line: str) -> Answer:
        """Send one command and give its reply."""
        return (await self.commands([line]))[0]

    async def write(self, data: bytes) -> None:
        """Send octets; returns when most of them are with the kernel."""
        try:
            async with asyncio.timeout(self._timeouts.block):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError as error:
            raise ConnectionLost(f"nothing taken within {self._timeouts.block:.0f} s") from error
        except OSError as error:
            raise ConnectionLost(await self._last_words(str(error))) from error

    async def end_content(self) -> None:
        """Send the final dot."""
        await self.write(b".\r\n")

    async def content_answer(self) -> Answer:
        """The reply to the final dot."""
        return await self.answer(self._timeouts.dot)

    async def _last_words(self, otherwise: str) -> str:
        """Hosts that close in the middle of content often say why before they do."""
        with contextlib.suppress(ConnectionLost):
            return str(await self.answer(LAST_WORDS_SECONDS))
        return f"the connection broke: {otherwise}"

    async def hello(self, hostname: str) -> None:
        """EHLO, or HELO where that is unknown; `ConnectionLost` when both are refused."""
        answer = await self.command(f"EHLO {hostname}")
        if not answer.positive:
            answer = await self.command(f"HELO {hostname}")
            if not answer.positive:
                raise ConnectionLost(str(answer))
            self.extensions = {}
            return
        self.extensions = {}
        for line in answer.lines[1:]:
            keyword, _, parameters = line.partition(" ")
            self.extensions[keyword.upper()] = parameters

    async def start_tls(self, context: ssl.SSLContext) -> bool:
        """STARTTLS; False when the host does not want it after all."""
        if not (await self.command("STARTTLS")).positive:
            return False
        if self._replies.pending:
            # Sent in plain text to be taken for the answers to come after the handshake.
            raise TlsFailed("the host sent more than its reply to STARTTLS")
        try:
            async with asyncio.timeout(self._timeouts.connect):
                await self._writer.start_tls(context, server_hostname=self.hop.host)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise TlsFailed(f"TLS failed: {error}") from error
        tls = self._writer.get_extra_info("ssl_object")
        policy = self.hop.tls
        if policy.level is Level.DANE:
            try:
                check_dane(tls, self.hop.host, policy.tlsa)
            except Untrusted as error:
                raise TlsFailed(str(error)) from error
        self.tls = f"{tls.version()} {tls.cipher()[0]}" if tls else "TLS"
        return True

    async def log_in(self, login: Login) -> None:
        """AUTH PLAIN, or LOGIN where that is all there is (RFC 4954); `LoginFailed`."""
        mechanisms = self.extensions.get("AUTH", "").upper().split()
        user, password = login.user.encode(), login.password.encode()
        if "PLAIN" in mechanisms:
            answer = await self.command(f"AUTH PLAIN {_base64(b'', user, password)}")
        elif "LOGIN" in mechanisms:
            answer = await self.command("AUTH LOGIN")
            for word in (user, password):
                if answer.code == 334:
                    answer = await self.command(_base64(word))
        else:
            raise LoginFailed("a login is set, but the host offers neither AUTH PLAIN nor LOGIN")
        if answer.code != 235:
            raise LoginFailed(f"the host refuses the login of {login.user}: {answer}")

    async def reset(self) -> bool:
        """RSET when a transaction was begun and not ended; can the connection be used?"""
        if self.dirty:
            self.dirty = False
            return (await self.command("RSET")).positive
        return True

    async def quit(self) -> None:
        """QUIT, without much waiting for the answer."""
        with contextlib.suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.command("QUIT")
        self.close()

    def close(self) -> None:
        """End the connection at once; nothing that waits to be sent is sent any more."""
        self.closed = True
        self._writer.transport.abort()


def _base64(*words: bytes) -> str:
    return base64.b64encode(b"\0".join(words)).decode()


async def connect(
    hop: NextHop, hostname: str, timeouts: Timeouts, contexts: TlsContexts
) -> Connection:
    """A connection ready for MAIL, with TLS as the policy of the next hop has it."""
    context = None if hop.tls.level is Level.NONE else contexts.of(hop.tls)
    try:
        return await _connect(hop, hostname, timeouts, context)
    except TlsFailed:
        if hop.tls.level is not Level.MAY:
            raise
        # Opportunistic: bad TLS is no worse than none (RFC 7435 §3).
        return await _connect(hop, hostname, timeouts, None)


async def _connect(
    hop: NextHop, hostname: str, timeouts: Timeouts, context: ssl.SSLContext | None
) -> Connection:
    try:
        async with asyncio.timeout(timeouts.connect):
            reader, writer = await asyncio.open_connection(hop.address or hop.host, hop.port)
    except TimeoutError as error:
        raise ConnectionLost(f"no connection within {timeouts.connect:.0f} s") from error
    except OSError as error:
        raise ConnectionLost(f"no connection: {error.strerror or error}") from error
    connection = Connection(hop, reader, writer, timeouts)
    try:
        greeting = await connection.answer(timeouts.command)
        if greeting.code != 220:
            raise ConnectionLost(str(greeting))
        await connection.hello(hostname)
        if context and "STARTTLS" in connection.extensions and await connection.start_tls(context):
            # RFC 3207 §4.2: what was learnt before TLS is forgotten.
            await connection.hello(hostname)
        elif hop.tls.level > Level.MAY:
            raise TlsFailed("TLS is required here, and the host does not offer STARTTLS")
        if hop.login:
            await connection.log_in(hop.login)
    except BaseException:
        connection.close()
        raise
    return connection


class Connections:
    """Idle connections, kept a short while for the next message to the same host."""

    def __init__(
        self,
        hostname: str,
        timeouts: Timeouts,
        contexts: TlsContexts,
        *,
        idle_seconds: float,
        most_messages: int,
    ) -> None:
        self._hostname = hostname
        self._timeouts = timeouts
        self._idle_seconds = idle_seconds
        self._most_messages = most_messages
        self._contexts = contexts
        self._idle: dict[NextHop, list[Connection]] = {}

    async def take(self, hop: NextHop, *, fresh: bool = False) -> Connection:
        """A connection for one transaction; `ConnectionLost` when there can be none.

        A kept one has `transactions` over 0 and may be dead; ask again with `fresh` then.
        """
        idle = self._idle.get(hop, [])
        while idle and not fresh:
            connection = idle.pop()
            if connection.idle_since + self._idle_seconds < time.monotonic():
                connection.close()
                continue
            with contextlib.suppress(ConnectionLost):
                if await connection.reset():
                    # Equal in all but how the name of the host became known.
                    connection.hop = hop
                    return connection
            connection.close()
        return await connect(hop, self._hostname, self._timeouts, self._contexts)

    def give_back(self, connection: Connection) -> None:
        """The transaction is over; the connection is kept when it is well."""
        if connection.closed:
            return
        connection.transactions += 1
        connection.idle_since = time.monotonic()
        if connection.transactions >= self._most_messages:
            # The next look at idle connections ends it.
            connection.idle_since -= self._idle_seconds + 1
        self._idle.setdefault(connection.hop, []).append(connection)

    async def tidy(self) -> None:
        """Say QUIT on connections that were idle too long."""
        limit = time.monotonic() - self._idle_seconds
        old = [c for idle in self._idle.values() for c in idle if c.idle_since < limit]
        for idle in self._idle.values():
            idle[:] = [c for c in idle if c.idle_since >= limit]
        await asyncio.gather(*(connection.quit() for connection in old))

    async def close(self) -> None:
        """Say QUIT on all."""
        connections = [c for idle in self._idle.values() for c in idle]
        self._idle.clear()
        await asyncio.gather(*(connection.quit() for connection in connections))
