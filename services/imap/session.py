"""One IMAP session: states, dispatch, and what every command shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from libs.common.accounts import Account, DirectoryUnavailable
from libs.common.blobstore.protocol import BlobError
from libs.common.db import DatabaseUnavailable
from libs.common.mailstore import MailStoreError, to_names
from libs.common.runtime.log import get_logger
from libs.protocols.imap import write
from libs.protocols.imap.collect import Collector, Incoming
from libs.protocols.imap.parse import ParseError, Parser
from services.imap.command import append, copy, fetch, login, mailboxes, search, selection, store
from services.imap.extensions import Situation, capability_list
from services.imap.gateway import COMMANDS, Gateway
from services.imap.outcome import Bad, Done, No
from services.imap.stream import Stream
from services.imap.view import View

log = get_logger(__name__)
Handler = Callable[["Session", Parser], Awaitable[Done]]

_ANY: dict[str, Handler] = {
    "CAPABILITY": login.capability,
    "NOOP": selection.noop,
    "LOGOUT": login.logout,
    "ID": login.identify,
}
_NOT_AUTHENTICATED: dict[str, Handler] = {
    "STARTTLS": login.starttls,
    "LOGIN": login.login,
    "AUTHENTICATE": login.authenticate,
}
_AUTHENTICATED: dict[str, Handler] = {
    "ENABLE": login.enable,
    "NAMESPACE": mailboxes.namespace,
    "LIST": mailboxes.list_,
    "LSUB": mailboxes.lsub,
    "STATUS": mailboxes.status,
    "CREATE": mailboxes.create,
    "DELETE": mailboxes.delete,
    "RENAME": mailboxes.rename,
    "SUBSCRIBE": mailboxes.subscribe,
    "UNSUBSCRIBE": mailboxes.unsubscribe,
    "SELECT": selection.select,
    "EXAMINE": selection.examine,
    "APPEND": append.append,
    "IDLE": selection.idle,
}
_SELECTED: dict[str, Handler] = {
    "CHECK": selection.noop,
    "CLOSE": selection.close,
    "UNSELECT": selection.unselect,
    "EXPUNGE": store.expunge,
    "SEARCH": search.search,
    "FETCH": fetch.fetch,
    "STORE": store.store,
    "COPY": copy.copy,
    "MOVE": copy.move,
    "UID EXPUNGE": store.uid_expunge,
    "UID SEARCH": search.uid_search,
    "UID FETCH": fetch.uid_fetch,
    "UID STORE": store.uid_store,
    "UID COPY": copy.uid_copy,
    "UID MOVE": copy.uid_move,
}
# RFC 9051 §7.5.1: no EXPUNGE while these are answered, for they speak of sequence numbers.
_NO_EXPUNGE = frozenset(("FETCH", "STORE", "SEARCH"))


class Session:
    """Answers one client."""

    def __init__(self, gateway: Gateway, stream: Stream, *, tls: bool, loopback: bool) -> None:
        self.gateway = gateway
        self.stream = stream
        self.tls = tls
        self.loopback = loopback
        self.collector = Collector(gateway.settings.max_append_octets)
        self.account: Account | None = None
        self.view: View | None = None
        self.changed = asyncio.Event()
        self.closing = False
        self.incoming: Incoming | None = None
        """The message of an APPEND that is not taken yet."""
        self.wrong_logins = 0
        self.condstore = False
        """The client knows MODSEQs: every FETCH of flags has one (RFC 7162 §3.1)."""
        self._bad = 0
        self._task = asyncio.current_task()
        self._waiting = True

    @property
    def situation(self) -> Situation:
        """What CAPABILITY depends on."""
        plain = self.loopback and self.gateway.settings.allow_plain_login
        return Situation(
            self.gateway.tls is not None, self.tls, self.tls or plain, self.account is not None
        )

    def capabilities(self) -> bytes:
        """The CAPABILITY list in this state."""
        return capability_list(self.situation)

    def untagged(self, line: bytes) -> None:
        """Add an untagged response."""
        self.stream.add(b"* " + line + b"\r\n")

    def owner(self) -> Account:
        """Who is logged in."""
        assert self.account is not None
        return self.account

    def selected(self) -> View:
        """The view of the selected mailbox."""
        assert self.view is not None
        return self.view

    def writable(self) -> View:
        """The same, for commands that change it."""
        view = self.selected()
        if view.read_only:
            raise No("the mailbox is selected read-only", "READ-ONLY")
        return view

    def trust(self, account: Account) -> None:
        """The client has proved who it is."""
        self.account = account
        self.collector.trusted = True
        self.stream.trust()

    async def receive(self) -> None:
        """Read more from the client; raises when nothing comes any more."""
        self.collector.receive(await self.stream.read(self.gateway.settings.idle_seconds))

    def stop(self) -> None:
        """We stop: a command under way is finished, one that waits is broken off, then BYE."""
        self.closing = True
        self.changed.set()
        if self._waiting and self._task is not None:
            self._task.cancel()

    async def execute(self, raw: bytes, incoming: Incoming | None = None) -> None:
        """Answer one command, which is whole but for the messages of an APPEND."""
        self._waiting = False
        self.incoming = incoming
        await self._answer(raw)
        self._waiting = True

    async def _answer(self, raw: bytes) -> None:
        parser, tag, name = Parser(raw), "*", "?"
        try:
            tag = parser.tag()
            parser.space()
            name = self._name(parser)
            outcome = await self._handler(name)(self, parser)
            line = outcome.line(tag)
        except ParseError as error:
            line = self._broken(tag, str(error))
        except (Bad, No) as error:
            line = error.line(tag)
        except MailStoreError as error:
            line = No(error.text, error.code).line(tag)
        except (DatabaseUnavailable, DirectoryUnavailable, BlobError) as error:
            log.warning("command waits for a backend", command=name, error=str(error))
            line = No("a backend is away; please try again", "UNAVAILABLE").line(tag)
        except ConnectionError:
            raise
        except Exception:
            log.exception("command failed", command=name)
            line = No("a fault of ours; please try again", "SERVERBUG").line(tag)
        if self.incoming is not None:
            await append.skip(self)
        word = line.split(b" ", 2)[1].decode() if line else "OK"
        COMMANDS.labels(name if self._known(name) else "unknown", word).inc()
        if self.view is not None and name not in _NO_EXPUNGE and not self.closing:
            await self.tell_news()
        self.stream.add(line)
        await self.stream.flush()

    @staticmethod
    def _name(parser: Parser) -> str:
        name = parser.atom()
        if name == "UID":
            parser.space()
            name = f"UID {parser.atom()}"
        return name

    @staticmethod
    def _known(name: str) -> bool:
        return any(name in table for table in (_ANY, _NOT_AUTHENTICATED, _AUTHENTICATED, _SELECTED))

    def _handler(self, name: str) -> Handler:
        if name in _ANY:
            return _ANY[name]
        if name in _NOT_AUTHENTICATED:
            if self.account is not None:
                raise Bad("already authenticated")
            return _NOT_AUTHENTICATED[name]
        if name not in _AUTHENTICATED and name not in _SELECTED:
            raise ParseError(f"unknown command {name[:40]}")
        if self.account is None:
            raise Bad("log in first")
        if name in _AUTHENTICATED:
            return _AUTHENTICATED[name]
        if self.view is None:
            raise Bad("select a mailbox first")
        return _SELECTED[name]

    def _broken(self, tag: str, text: str) -> bytes:
        self._bad += 1
        if self._bad > self.gateway.settings.max_bad:
            self.untagged(b"BYE too many commands that break the grammar")
            self.closing = True
        return Bad(text).line(tag)

    async def tell_news(self) -> None:
        """Untagged responses for everything that changed in the selected mailbox."""
        self.changed.clear()
        view = self.selected()
        try:
            news = await view.refresh()
        except DatabaseUnavailable as error:
            log.warning("news wait for the database", error=str(error))
            return
        if news.gone:
            self.untagged(b"BYE the selected mailbox was deleted")
            self.closing = True
            return
        for number in news.expunged:
            self.untagged(b"%d EXPUNGE" % number)
        if news.exists:
            self.untagged(b"%d EXISTS" % len(view.uids))
        self.tell_flags(uid for uid in news.flagged if uid in view.entries)

    def tell_flags(self, uids: Iterable[int]) -> None:
        """An untagged FETCH with the flags of each message."""
        view = self.selected()
        for uid in uids:
            entry = view.entries[uid]
            names = write.flag_list(to_names(entry.flags, entry.keywords))
            modseq = b" MODSEQ (%d)" % entry.modseq if self.condstore else b""
            line = b"%d FETCH (UID %d FLAGS %b%b)" % (view.number(uid), uid, names, modseq)
            self.untagged(line)

    def use_condstore(self) -> None:
        """A command has shown that the client knows MODSEQs."""
        if not self.condstore:
            self.condstore = True
            if self.view is not None:
                self.tell_modseq()

    def tell_modseq(self) -> None:
        """The HIGHESTMODSEQ of what the client has been told of."""
        self.untagged(b"OK [HIGHESTMODSEQ %d] up to here" % self.selected().modseq)

    def leave(self) -> None:
        """Nothing is selected any more."""
        if self.view is not None:
            self.gateway.unwatch(self, self.view.mailbox.id)
            self.view = None
