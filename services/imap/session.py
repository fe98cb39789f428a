"""One IMAP session: states, dispatch, and what every command shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from libs.common.accounts import Account, DirectoryUnavailable
from libs.common.accounts.exchange import channel_bindings, offered
from libs.common.blobstore.protocol import BlobError
from libs.common.db import DatabaseUnavailable
from libs.common.mailstore import Mailbox, MailStoreError, to_names
from libs.common.runtime.log import get_logger
from libs.protocols.imap import write
from libs.protocols.imap.collect import Collector, Incoming
from libs.protocols.imap.parse import ParseError, Parser, Ranges
from services.imap.command import (
    append,
    copy,
    fetch,
    login,
    mailboxes,
    metadata,
    quota,
    search,
    selection,
    sort,
    store,
)
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
    "GETQUOTA": quota.getquota,
    "GETQUOTAROOT": quota.getquotaroot,
    "SETQUOTA": quota.setquota,
    "GETMETADATA": metadata.getmetadata,
    "SETMETADATA": metadata.setmetadata,
    "COMPRESS": login.compress,
    "UNAUTHENTICATE": login.unauthenticate,
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
    "SORT": sort.sort,
    "UID SORT": sort.uid_sort,
    "THREAD": sort.thread,
    "UID THREAD": sort.uid_thread,
    "UID FETCH": fetch.uid_fetch,
    "UID STORE": store.uid_store,
    "UID COPY": copy.uid_copy,
    "UID MOVE": copy.uid_move,
    "REPLACE": append.replace,
    "UID REPLACE": append.uid_replace,
}
# RFC 9051 §7.5.1: no EXPUNGE while these are answered, for they speak of sequence numbers.
_NO_EXPUNGE = frozenset(("FETCH", "STORE", "SEARCH", "SORT", "THREAD"))
# Those that ask for news, or make some; others tell what is known, or what a notice spoke of.
_LOOK = frozenset(
    (
        "NOOP",
        "CHECK",
        "EXPUNGE",
        "UID EXPUNGE",
        "MOVE",
        "UID MOVE",
        "COPY",
        "UID COPY",
        "APPEND",
        "REPLACE",
        "UID REPLACE",
    )
)


class Session:
    """Answers one client."""

    def __init__(self, gateway: Gateway, stream: Stream, *, tls: bool, ip: str) -> None:
        self.gateway = gateway
        self.stream = stream
        self.tls = tls
        self.ip = ip
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
        self.enabled: set[str] = set()
        """What ENABLE has turned on."""
        self.tag = "*"
        """Of the command under way."""
        self.saved: list[int] = []
        """The UIDs that `$` stands for (RFC 5182)."""
        self._bad = 0
        self._task = asyncio.current_task()
        self._waiting = True

    @property
    def _loopback(self) -> bool:
        return self.ip.startswith("127.") or self.ip == "::1"

    @property
    def bindings(self) -> dict[str, bytes]:
        """What SCRAM's -PLUS can be bound to."""
        return channel_bindings(self.stream.secure)

    @property
    def situation(self) -> Situation:
        """What CAPABILITY depends on."""
        plain = self._loopback and self.gateway.settings.allow_plain_login
        return Situation(
            self.gateway.tls is not None,
            self.tls,
            offered(self.gateway.authenticator, self.bindings) if self.tls or plain else (),
            self.account is not None,
            self.stream.compressed,
            self.gateway.settings.max_append_octets,
        )

    @property
    def qresync(self) -> bool:
        """The client takes VANISHED for EXPUNGE (RFC 7162 §3.2.3)."""
        return "QRESYNC" in self.enabled

    @property
    def uidonly(self) -> bool:
        """The client knows no sequence numbers (RFC 9586)."""
        return "UIDONLY" in self.enabled

    @property
    def rev2(self) -> bool:
        """The client speaks IMAP4rev2."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Mailbox names go as UTF-8, and `&` in them is only a sign (RFC 9051 §5.1, RFC 6855)."""
        return self.rev2 or "UTF8=ACCEPT" in self.enabled

    @property
    def fetch_word(self) -> bytes:
        """What FETCH responses are called."""
        return b"UIDFETCH" if self.uidonly else b"FETCH"

    def name(self, mailbox: str) -> bytes:
        """A mailbox name as this client reads it."""
        return write.mailbox(mailbox, utf8=self.utf8)

    def needs_uid(self, *, uid: bool) -> None:
        """BAD for what speaks of sequence numbers, where they were given up (RFC 9586 §3)."""
        if self.uidonly and not uid:
            raise Bad("this session has UIDs only", "UIDREQUIRED")

    def set_of(self, parser: Parser, *, uid: bool) -> tuple[Ranges, bool]:
        """A set of the command, and whether it is one of UIDs; `$` is the result that was saved."""
        self.needs_uid(uid=uid)
        if parser.take(b"$"):
            return tuple((number, number) for number in self.saved), True
        return parser.sequence_set(), uid

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

    def distrust(self) -> None:
        """Forget who the client was, and all that it has turned on."""
        self.leave()
        self.account = None
        self.collector.trusted = False
        self.enabled.clear()
        self.condstore = False

    async def box(self, name: str) -> Mailbox:
        """The mailbox with this name, which must be there."""
        found = await self.gateway.store.mailbox(self.owner().id, name)
        if found is None:
            raise No(f"there is no mailbox {name!r}", "NONEXISTENT")
        return found

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
        parser, tag, name = Parser(raw, utf8=self.utf8), "*", "?"
        try:
            tag = self.tag = parser.tag()
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
            await self.tell_news(look=name in _LOOK)
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

    async def tell_news(self, *, look: bool = True) -> None:
        """Untagged responses for everything that changed in the selected mailbox.

        Without `look` the store is asked only after a hint that there is something.
        """
        view = self.selected()
        try:
            news = await view.refresh() if look or view.shared.hinted else view.catch_up()
        except DatabaseUnavailable as error:
            log.warning("news wait for the database", error=str(error))
            return
        if news.gone:
            self.untagged(b"BYE the selected mailbox was deleted")
            self.closing = True
            return
        if news.expunged:
            left = set(news.expunged)
            self.saved = [uid for uid in self.saved if uid not in left]
        if self.qresync or self.uidonly:
            self.tell_vanished(news.expunged)
        else:
            for number in news.numbers:
                self.untagged(b"%d EXPUNGE" % number)
        if news.exists:
            self.untagged(b"%d EXISTS" % len(view.uids))
        self.tell_flags(news.flagged)

    def tell_flags(self, uids: Iterable[int]) -> None:
        """An untagged FETCH with the flags of each message."""
        view = self.selected()
        for uid in uids:
            if (entry := view.entries.get(uid)) is None:
                continue
            names = write.flag_list(to_names(entry.flags, entry.keywords))
            modseq = b" MODSEQ (%d)" % entry.modseq if self.condstore else b""
            number = uid if self.uidonly else view.number(uid)
            head = b"%d %b (UID %d FLAGS " % (number, self.fetch_word, uid)
            self.untagged(head + names + modseq + b")")

    def tell_vanished(self, uids: Sequence[int], *, earlier: bool = False) -> None:
        """The UIDs (ascending) that are gone (RFC 7162 §3.2.10)."""
        if uids:
            mark = b"VANISHED (EARLIER) " if earlier else b"VANISHED "
            self.untagged(mark + write.number_set(uids))

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
            self.view.leave(self.gateway.mailboxes)
            self.view = None
            self.saved = []
