"""The shell around a session: the socket, time limits, and what each event does."""

from __future__ import annotations

import asyncio
import base64
from typing import NoReturn

from libs.common.accounts import Account, DirectoryUnavailable, exchange
from libs.common.accounts.authenticator import Attempt, LoginRefused, WrongCredentials
from libs.common.accounts.exchange import decode_response, offered
from libs.common.db import DatabaseUnavailable
from libs.common.runtime.log import get_logger
from libs.common.scripts import MAX_OCTETS
from libs.protocols.managesieve.event import (
    Authenticate,
    Capability,
    Event,
    Logout,
    SaslAnswer,
    StartTls,
)
from libs.protocols.managesieve.session import ServerSession, State
from libs.protocols.managesieve.wire import lines, string
from libs.protocols.sieve.script import EXTENSIONS
from services.conversation import Conversation
from services.managesieve.gateway import Gateway
from services.managesieve.scripts import Scripts

log = get_logger(__name__)
_SCOPE = "sieve"


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
        self._session = ServerSession(MAX_OCTETS)
        super().__init__(gateway, self._session, reader, writer, tls=tls)
        self._scripts: Scripts | None = None
        self._wrong_logins = 0

    async def serve(self) -> None:
        """Talk until one of us ends it."""
        self._greet("Holub is ready")
        await self._flush()
        settings = self._gateway.settings
        loop = asyncio.get_running_loop()
        login_until = loop.time() + settings.login_seconds
        while self._session.state is not State.CLOSED and not self._gateway.stopping:
            limit = settings.idle_seconds
            if self._session.state is not State.AUTHENTICATED:
                limit = min(limit, login_until - loop.time())
            data = await self._receive(max(limit, 0.0))
            if not data:
                self._session.bye("time is up, or we stop")
                break
            self._session.receive(data)
            while (event := self._session.next_event()) is not None:
                await self._answer(event)
            if self._session.mistakes > settings.max_mistakes:
                self._session.bye("too many mistakes")
            await self._flush()
        await self._flush()

    async def _answer(self, event: Event) -> None:
        try:
            match event:
                case Capability():
                    self._greet("")
                case StartTls():
                    await self._start_tls()
                case Authenticate(mechanism, initial):
                    await self._authenticate(mechanism, initial)
                case Logout():
                    self._session.ok("goodbye")
                    self._session.close()
                case SaslAnswer():
                    _never()
                case _:
                    assert self._scripts is not None
                    await self._scripts.answer(self._session, event)
        except (DatabaseUnavailable, DirectoryUnavailable) as error:
            log.warning("a command waits for a backend", error=str(error))
            self._session.no("a backend is away; please try again", "TRYLATER")

    def _greet(self, text: str) -> None:
        """The capabilities (RFC 5804 §1.7), also after STARTTLS and a login."""
        rows = [("IMPLEMENTATION", "Holub"), ("VERSION", "1.0")]
        mechanisms: tuple[str, ...] = ()
        if self._login_allowed:
            mechanisms = offered(self._gateway.authenticator, self._bindings)
        rows += [("SASL", " ".join(mechanisms)), ("SIEVE", " ".join(sorted(EXTENSIONS)))]
        if self._scripts is not None:
            rows.append(("OWNER", self._scripts.address))
        words = [(string(name), string(value)) for name, value in rows]
        if self._gateway.tls is not None and not self._tls:
            words.append((string("STARTTLS"),))  # type: ignore[arg-type]
        self._session.send(lines(words))
        self._session.ok(text)

    async def _start_tls(self) -> None:
        if self._gateway.tls is None or self._tls:
            self._session.no("TLS is active already, or not to be had")
            return
        self._session.ok("begin TLS now")
        await self._protect(self._gateway.tls)
        self._greet("TLS is active")

    async def _authenticate(self, name: str, initial: bytes | None) -> None:
        if not self._login_allowed:
            self._session.no("say STARTTLS first: passwords need TLS", "ENCRYPT-NEEDED")
            return
        try:
            account = await exchange.authenticate(
                self._gateway.authenticator,
                Attempt(_SCOPE, self.ip),
                name,
                None if initial is None else _decode(initial),
                self._ask,
                self._bindings,
            )
        except (exchange.NoSuchMechanism, exchange.ExchangeError) as error:
            self._session.no(str(error))
        except LoginRefused as error:
            self._wrong_logins += 1
            self._session.no(str(error), "" if isinstance(error, WrongCredentials) else "TRYLATER")
            if self._wrong_logins >= self._gateway.settings.max_logins:
                self._session.bye("too many wrong passwords")
        else:
            self._welcome(account)

    def _welcome(self, account: Account) -> None:
        self._scripts = Scripts(self._gateway.database, account, self.ip)
        self._session.begin()
        self._session.ok(f"logged in as {account.address}")

    async def _ask(self, challenge: bytes) -> bytes:
        self._session.challenge(base64.b64encode(challenge))
        await self._flush()
        while (event := self._session.next_event()) is None:
            if self._session.state is State.CLOSED:
                await self._flush()
                raise ConnectionError("no answer to the challenge")
            data = await self._receive(self._gateway.settings.login_seconds)
            if not data:
                raise ConnectionError("no answer to the challenge")
            self._session.receive(data)
        assert isinstance(event, SaslAnswer)
        return _decode(event.text)


def _decode(answer: bytes) -> bytes:
    # RFC 5804 §2.1: what is empty is an empty string here.
    return decode_response(answer, empty=b"")


def _never() -> NoReturn:
    raise AssertionError("an answer without a challenge")
