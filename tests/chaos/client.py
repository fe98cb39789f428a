"""A strict SMTP client: one attempt for each message, no retry, everything in the ledger."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.content import Kind, Message, Plan, stuffed
from tests.chaos.ledger import Ledger, Outcome, outcome_of

_REPLY_SECONDS = 60.0
_LOST = (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to connect; with a login the session begins with TLS and AUTH."""

    ports: tuple[int, ...]
    login: str = ""
    password: str = ""


class Session:
    """One connection to an SMTP server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.left = 20
        """Messages before it is closed, so that sessions come and go."""

    @classmethod
    async def open(cls, listener: Listener, rng: random.Random) -> Session:
        """Connect and say hello; raises OSError and its like when that fails."""
        async with asyncio.timeout(_REPLY_SECONDS):
            link = await asyncio.open_connection("127.0.0.1", rng.choice(listener.ports))
        session = cls(*link)
        try:
            await session._hello(listener)
        except BaseException:
            session.close()
            raise
        return session

    async def _hello(self, listener: Listener) -> None:
        _expect(await self.answer(), "2")
        features = await self.command("EHLO chaos.elsewhere.test")
        if not listener.login:
            return
        if "STARTTLS" in features:
            _expect(await self.command("STARTTLS"), "2")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            await self._writer.start_tls(context)
            await self.command("EHLO chaos.elsewhere.test")
        secret = base64.b64encode(f"\0{listener.login}\0{listener.password}".encode()).decode()
        _expect(await self.command(f"AUTH PLAIN {secret}"), "2")

    async def answer(self) -> str:
        """One reply, its lines joined by a newline."""
        lines = []
        async with asyncio.timeout(_REPLY_SECONDS):
            while True:
                raw = await self._reader.readuntil(b"\r\n")
                lines.append(raw.decode("utf-8", "replace").rstrip())
                if raw[3:4] != b"-":
                    return "\n".join(lines)

    async def command(self, line: str) -> str:
        """Send a command; its reply."""
        await self.send(line.encode() + b"\r\n")
        return await self.answer()

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel takes it."""
        self._writer.write(data)
        async with asyncio.timeout(_REPLY_SECONDS):
            await self._writer.drain()

    def close(self) -> None:
        """Close without a word."""
        with contextlib.suppress(Exception):
            self._writer.close()


def _expect(reply: str, digit: str) -> None:
    if not reply.startswith(digit):
        raise ConnectionError(f"the session could not begin: {reply}")


class Load:
    """Sends the messages of a plan over several connections at a steady pace."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        mx: Listener,
        submission: Listener | None,
        *,
        connections: int = 6,
        per_second: float = 25.0,
        numbers: itertools.count[int] | None = None,
        tries: int = 1_000_000,
    ) -> None:
        self._plan, self._ledger = plan, ledger
        self._mx, self._submission = mx, submission
        self._numbers = numbers or itertools.count(1)
        self._connections = connections
        self._pause = connections / per_second
        self._stopping = asyncio.Event()
        self._tries_left = tries
        self.unanswered = 0
        """Connections that could not be opened."""
        self.refusals: dict[str, int] = {}
        """Replies that were not 2xx, and how often."""

    async def run(self, more: Callable[[], bool] = lambda: True) -> None:
        """Send until `stop`, or until `more` says no."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._connections):
                tasks.create_task(self._worker(number, more))

    def stop(self) -> None:
        """Finish what is under way, and begin nothing new."""
        self._stopping.set()

    async def _worker(self, number: int, more: Callable[[], bool]) -> None:
        rng = random.Random(f"{self._plan.seed}/worker/{number}")
        sessions: dict[bool, Session] = {}
        await self._sleep(self._pause * rng.random())
        while not self._stopping.is_set() and more():
            message = self._plan.message(next(self._numbers))
            await self._attempt(message, sessions, rng)
            await self._sleep(self._pause * rng.uniform(0.5, 1.5))
        for session in sessions.values():
            session.close()

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _attempt(
        self, message: Message, sessions: dict[bool, Session], rng: random.Random
    ) -> None:
        out = message.kind is Kind.OUTBOUND
        listener = self._submission if out and self._submission else self._mx
        session = sessions.pop(out, None)
        session = session or await self._connect(listener, rng)
        if session is None:
            return
        try:
            await self._transaction(session, message)
        except _LOST:
            session.close()
            self._ledger.reply(message, Outcome.LOST_BEFORE_DOT)
            return
        session.left -= 1
        if session.left > 0:
            sessions[out] = session
        else:
            session.close()

    async def _connect(self, listener: Listener, rng: random.Random) -> Session | None:
        """A session, as soon as somebody listens; None when the load is to stop."""
        while not self._stopping.is_set() and self._tries_left:
            try:
                return await Session.open(listener, rng)
            except _LOST:
                self.unanswered += 1
                self._tries_left -= 1
                await self._sleep(0.2)
        return None

    async def _transaction(self, session: Session, message: Message) -> None:
        """One message; raises only when the connection was lost before the dot."""
        reply = await session.command(f"MAIL FROM:<{message.reverse_path}>")
        accepted: list[str] = []
        if reply.startswith("2"):
            for address in message.recipients:
                reply = await session.command(f"RCPT TO:<{address}>")
                if reply.startswith("2"):
                    accepted.append(address)
        if accepted:
            reply = await session.command("DATA")
        if not accepted or not reply.startswith("354"):
            self._refused(reply)
            self._ledger.reply(message, outcome_of(reply), reply)
            _expect(await session.command("RSET"), "2")
            return
        await session.send(stuffed(message.content))
        self._ledger.dot(message, tuple(accepted))
        try:
            await session.send(b".\r\n")
            reply = await session.answer()
        except _LOST:
            self._ledger.reply(message, Outcome.UNKNOWN)
            session.left = 0
            return
        self._refused(reply)
        self._ledger.reply(message, outcome_of(reply), reply)

    def _refused(self, reply: str) -> None:
        if not reply.startswith("2"):
            # Without the mail_id, which would make every refusal a kind of its own.
            text = reply.split("\n", 1)[0].split(" (", 1)[0][:100]
            self.refusals[text] = self.refusals.get(text, 0) + 1
