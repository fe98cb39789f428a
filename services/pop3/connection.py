"""The shell around a session: the socket, time limits, and what each event does."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable

from libs.common.accounts import Account, DirectoryUnavailable, exchange
from libs.common.accounts.authenticator import Attempt, LoginRefused, WrongCredentials
from libs.common.accounts.exchange import decode_response, offered
from libs.common.blobstore.protocol import BlobError
from libs.common.db import DatabaseUnavailable
from libs.common.runtime.log import get_logger
from libs.protocols.pop3.event import (
    Auth,
    Capa,
    Dele,
    Event,
    List,
    Login,
    Quit,
    Retr,
    Rset,
    SaslLine,
    Stat,
    Stls,
    Top,
    Uidl,
)
from libs.protocols.pop3.reply import Stuffer, TopLines, listing, ok
from libs.protocols.pop3.session import ServerSession, State
from services.conversation import Conversation
from services.pop3.gateway import Gateway
from services.pop3.maildrop import Maildrop, NoSuchMessage

log = get_logger(__name__)
_SCOPE = "pop3"


class Connection(Conversation):
    """Answers one client."""

    def __init__(
        self,
        gateway: Gateway,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tls: bool,
    ) -> None:
        self._gateway = gateway
        self._session = ServerSession()
        super().__init__(gateway, self._session, reader, writer, tls=tls)
        self._maildrop: Maildrop | None = None
        self._wrong_logins = 0

    async def serve(self) -> None:
        """Talk until one of us ends it."""
        self._session.send(ok("Holub is ready"))
        await self._flush()
        settings = self._gateway.settings
        loop = asyncio.get_running_loop()
        login_until = loop.time() + settings.login_seconds
        while self._session.state is not State.CLOSED and not self._gateway.stopping:
            limit = settings.idle_seconds
            if self._session.state is not State.TRANSACTION:
                limit = min(limit, login_until - loop.time())
            data = await self._receive(max(limit, 0.0))
            if not data:
                return
            self._session.receive(data)
            # PIPELINING: all that has come is answered before more is read.
            while (event := self._session.next_event()) is not None:
                await self._answer(event)
            if self._session.mistakes > settings.max_mistakes:
                self._session.refuse("too many mistakes")
                self._session.close()
            await self._flush()

    async def _answer(self, event: Event) -> None:
        try:
            if isinstance(event, Capa | Stls | Login | Auth):
                await self._before_login(event)
            elif isinstance(event, Quit):
                await self._quit()
            else:
                assert self._maildrop is not None
                assert not isinstance(event, SaslLine)
                await self._on_maildrop(self._maildrop, event)
        except NoSuchMessage:
            self._session.refuse("no such message")
        except (DatabaseUnavailable, DirectoryUnavailable, BlobError) as error:
            log.warning("a command waits for a backend", error=str(error))
            self._session.refuse("a backend is away; please try again", "SYS/TEMP")

    async def _before_login(self, event: Capa | Stls | Login | Auth) -> None:
        match event:
            case Capa():
                self._session.send(listing("capabilities", self._capabilities()))
            case Stls():
                await self._start_tls()
            case Login(name, password):
                await self._log_in(name, password)
            case Auth(mechanism, initial):
                await self._auth(mechanism, initial)

    def _capabilities(self) -> list[str]:
        words = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        words += ["UTF8", "LANG", "IMPLEMENTATION Holub"]
        if self._login_allowed:
            mechanisms = offered(self._gateway.authenticator, self._bindings)
            words += ["USER", f"SASL {' '.join(mechanisms)}"]
        if self._gateway.tls is not None and not self._tls:
            words.append("STLS")
        return words

    async def _start_tls(self) -> None:
        if self._gateway.tls is None or self._tls:
            self._session.refuse("TLS is active already, or not to be had")
            return
        self._session.send(ok("begin TLS now"))
        await self._protect(self._gateway.tls)

    async def _auth(self, name: str, initial: bytes | None) -> None:
        """RFC 5034; an empty initial response is a single equals sign."""
        if not self._login_allowed:
            self._session.refuse("say STLS first: passwords need TLS")
            return
        try:
            await self._welcome(
                exchange.authenticate(
                    self._gateway.authenticator,
                    Attempt(_SCOPE, self.ip),
                    name,
                    decode_response(initial) if initial else None,
                    self._ask,
                    self._bindings,
                )
            )
        except (exchange.NoSuchMechanism, exchange.ExchangeError) as error:
            self._session.refuse(str(error))

    async def _ask(self, challenge: bytes) -> bytes:
        self._session.challenge(base64.b64encode(challenge))
        await self._flush()
        while (event := self._session.next_event()) is None:
            data = await self._receive(self._gateway.settings.login_seconds)
            if not data or self._session.state is State.CLOSED:
                raise ConnectionError("no answer to the challenge")
            self._session.receive(data)
        assert isinstance(event, SaslLine)
        return decode_response(event.text)

    async def _log_in(self, name: bytes, password: bytes) -> None:
        if not self._login_allowed:
            self._session.refuse("say STLS first: passwords need TLS")
            return
        try:
            login, secret = name.decode(), password.decode()
        except UnicodeDecodeError:
            self._session.refuse("names and passwords are UTF-8")
            return
        attempt = Attempt(_SCOPE, self.ip)
        await self._welcome(self._gateway.authenticator.password(login, secret, attempt))

    async def _welcome(self, proving: Awaitable[Account]) -> None:
        """Let in who proves to be somebody; whoever guesses on is let go."""
        try:
            account = await proving
        except LoginRefused as error:
            self._wrong_logins += 1
            # RFC 3206 §4: AUTH is for credentials; SYS/TEMP will pass by itself.
            code = "AUTH" if isinstance(error, WrongCredentials) else "SYS/TEMP"
            self._session.refuse(str(error), code)
            if self._wrong_logins >= self._gateway.settings.max_logins:
                self._session.close()
            return
        self._maildrop = await Maildrop.open(self._gateway.store, account)
        self._session.begin()
        self._session.send(ok(f"{len(self._maildrop.left())} messages"))

    async def _quit(self) -> None:
        """UPDATE (RFC 1939 §6): nothing goes unless all of it goes."""
        gone = await self._maildrop.commit() if self._maildrop is not None else 0
        self._session.send(ok(f"goodbye, {gone} messages deleted" if gone else "goodbye"))
        self._session.close()

    async def _on_maildrop(
        self, drop: Maildrop, event: Stat | List | Uidl | Retr | Top | Dele | Rset
    ) -> None:
        send = self._session.send
        match event:
            case Stat():
                left = drop.left()
                send(ok(f"{len(left)} {sum(entry.size for _, entry in left)}"))
            case List(None):
                send(listing("sizes", (f"{n} {entry.size}" for n, entry in drop.left())))
            case List(int(number)):
                send(ok(f"{number} {drop.entry(number).size}"))
            case Uidl(None):
                send(listing("ids", (f"{n} {drop.unique_id(e)}" for n, e in drop.left())))
            case Uidl(int(number)):
                send(ok(f"{number} {drop.unique_id(drop.entry(number))}"))
            case Retr(number):
                await self._retrieve(drop, number, None)
            case Top(number, lines):
                await self._retrieve(drop, number, lines)
            case Dele(number):
                drop.delete(number)
                send(ok("deleted at QUIT"))
            case Rset():
                drop.reset()
                send(ok())

    async def _retrieve(self, drop: Maildrop, number: int, lines: int | None) -> None:
        entry = drop.entry(number)
        header, blocks = await drop.content(entry)
        # The first block is read before +OK is said, so a blob that is away is an -ERR.
        first = await anext(blocks, b"")
        self._session.send(ok(f"{entry.size} octets"))
        stuffer = Stuffer()
        cut = TopLines(header, lines) if lines is not None else None
        try:
            async for block in _all(first, blocks):
                self._session.send(stuffer.feed(cut.feed(block) if cut else block))
                await self._flush()
                if cut is not None and cut.done:
                    break
        except (BlobError, DatabaseUnavailable) as error:
            # The client must not take a part for the whole: the connection breaks.
            log.warning("a message broke off", mail_id=entry.mail_id, error=str(error))
            self._writer.transport.abort()
            raise ConnectionError("a message cannot be finished") from error
        self._session.send(stuffer.end())


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in rest:
        yield block
