"""One SMTP, submission or LMTP session: a subclass of aiosmtpd's, deep where that falls short.

Kept of aiosmtpd: the protocol on asyncio streams, its connection and timeout handling.  Ours: a
command loop that answers all commands of one read in one write (RFC 2920), paths by one pattern,
content in blocks, and a commit that neither a disconnect nor a timeout can cut.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiosmtpd.smtp import SMTP
from prometheus_client import Counter

from libs.common.accounts import Account
from libs.common.jobs import Client
from libs.common.runtime.log import get_logger
from libs.common.trace import TraceRow
from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.parameters import (
    parse_body,
    parse_envid,
    parse_flag,
    parse_notify,
    parse_orcpt,
    parse_ret,
    parse_size,
    refuse_unknown,
    split_parameters,
)
from libs.protocols.smtp.path import Path, PathError, parse_path
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.authenticate import authenticate
from services.ingress.content import receive_content
from services.ingress.extensions import Situation, ehlo_lines
from services.ingress.listener import Listener
from services.ingress.policy import check_recipient, check_sender
from services.ingress.server import Server
from services.ingress.transaction import MailTransaction

log = get_logger(__name__)
_ACCEPTED = Counter("holub_ingress_accepted_total", "Messages answered 250.", ["listener"])
_REFUSED = Counter("holub_ingress_refused_total", "Refusals.", ["listener", "stage", "status"])
_OCTETS = Counter("holub_ingress_octets_total", "Octets of content received.", ["listener"])

MAX_COMMAND = 2048
"""Octets of a command line with its CRLF; four times RFC 5321 §4.5.3.1.4, for parameters."""
MAX_AUTH_LINE = 12288
"""Octets of AUTH's lines (RFC 4954 §4)."""
READ_LIMIT = 256 * 1024
_HELO = re.compile(r"[A-Za-z0-9._:\[\]\-\u0080-\U0010ffff]{1,255}")


class Session(SMTP):
    """Speaks with one client."""

    line_length_limit = READ_LIMIT

    def __init__(self, server: Server, listener: Listener, *, tls: bool) -> None:
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
        self._timeout_duration = server.settings.timeout_seconds
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._tls_handshake_okay = True
        self._tls_protocol = None
        self._original_transport = None
        self._handler_coroutine = None
        self.session = None
        self.envelope = None
        self.transport: Any = None
        self.server = server
        self.listener = listener
        self._accepted = _ACCEPTED.labels(listener.name)
        self._octets = _OCTETS.labels(listener.name)
        self.tls = tls
        self.helo = ""
        self.extended = False
        self.account: Account | None = None
        self.mail: MailTransaction | None = None
        self.draining = False
        self._idle = False
        self._errors = 0
        self._out: list[bytes] = []
        self._commands: dict[str, Callable[[str], Awaitable[Reply | None]]] = {
            "HELO": self._helo,
            "EHLO": self._ehlo,
            "LHLO": self._lhlo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
            "VRFY": self._vrfy,
            "HELP": self._help,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
        }

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
        left = self._heard_at + self._timeout_duration - self.loop.time()
        if left > 0:
            self._timeout_handle = self.loop.call_later(left, self._timeout_cb)
        elif self.transport is not None:
            self._writer.write(replies.IDLE.encode())
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The session ends; a commit under way does not."""
        self.server.sessions.discard(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        try:
            await self._converse()
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass  # The client is gone; what it was told 250 for is stored.
        except ssl.SSLError as error:
            log.info("TLS failed", peer=self.ip, error=str(error))
        finally:
            if self.transport is not None:
                self.transport.close()

    # The loop.

    @property
    def ip(self) -> str:
        """The client's address."""
        peer: Any = getattr(self.session, "peer", None)
        return str(peer[0]) if isinstance(peer, tuple) and peer else "127.0.0.1"

    async def _converse(self) -> None:
        if len(self.server.sessions) >= self.server.settings.max_connections:
            await self.send(Reply(421, "4.7.0", "too many connections; please try again later"))
            return
        self.server.sessions.add(self)
        kind = "LMTP" if self.listener.lmtp else "ESMTP"
        self._out.append(f"220 {self.server.settings.hostname} {kind} Holub\r\n".encode())
        while self.transport is not None and not self.transport.is_closing():
            line = await self._next_line()
            if line is None:
                return
            reply = await self._answer(line)
            if reply is not None and not await self._reply(reply):
                return

    async def _next_line(self) -> bytes | None:
        """The next command line; replies are sent first when there is none yet."""
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

    async def _reply(self, reply: Reply) -> bool:
        """Queue a reply; False when the session is to be closed after it."""
        self._out.append(reply.encode())
        if reply.code in (221, 421):
            await self.flush()
            return False
        if not reply.positive:
            self._errors += 1
            if self._errors >= self.server.settings.max_errors:
                await self.send(Reply(421, "4.7.0", "too many errors; closing"))
                return False
        return True

    async def flush(self) -> None:
        """Send the replies that wait, in one write."""
        if self._out:
            self._writer.write(b"".join(self._out))
            self._out.clear()
            await self._writer.drain()

    async def send(self, reply: Reply) -> None:
        """Send this reply now."""
        self._out.append(reply.encode())
        await self.flush()

    async def _answer(self, line: bytes) -> Reply | None:
        """The reply to one command line; None when it was sent already."""
        if not line.endswith(b"\r\n"):
            return Reply(500, "5.5.2", "a command ends in CRLF")
        if len(line) > MAX_COMMAND and line[:4].upper() != b"AUTH":
            return Reply(500, "5.5.6", f"a command has at most {MAX_COMMAND} octets")
        try:
            verb, _, argument = line[:-2].decode().partition(" ")
        except UnicodeDecodeError:
            return Reply(500, "5.5.2", "a command is ASCII, or UTF-8 with SMTPUTF8")
        command = self._commands.get(verb.upper())
        if command is None:
            return Reply(500, "5.5.1", "no such command")
        try:
            return await command(argument.strip())
        except Refusal as refusal:
            self._note_refusal(verb.upper(), refusal.reply, argument)
            return refusal.reply
        except (ConnectionError, asyncio.IncompleteReadError):
            raise
        except Exception:
            # The client will try again later, so a fault of ours costs no mail.
            log.exception("no reply to a command", command=verb[:8], peer=self.ip)
            return replies.LOCAL_ERROR

    def _note_refusal(self, stage: str, reply: Reply, argument: str) -> None:
        _REFUSED.labels(self.listener.name, stage.lower(), reply.status).inc()
        if stage not in ("MAIL", "RCPT"):
            return
        mail_id = self.mail.mail_id if self.mail else ""
        why = f"{reply.code} {reply.status} {reply.text} [{self.ip}]"
        log.info("refused", mail_id=mail_id, stage=stage, reply=why, peer=self.ip)
        if mail_id:
            recipient = argument.partition("<")[2].partition(">")[0][:320]
            self.server.trace.add(TraceRow(mail_id, "ingress", "refused", -1, recipient, why))

    # Commands.

    def _check_name(self, name: str) -> None:
        if not _HELO.fullmatch(name):
            raise Refusal(Reply(501, "5.5.4", "give your host name or [address literal]"))
        self.helo = name
        self.mail = None

    async def _helo(self, argument: str) -> Reply:
        if self.listener.lmtp:
            raise Refusal(Reply(500, "5.5.1", "this is LMTP; say LHLO (RFC 2033 §4.1)"))
        self._check_name(argument)
        self.extended = False
        return Reply(250, "", self.server.settings.hostname)

    async def _ehlo(self, argument: str) -> Reply:
        if self.listener.lmtp:
            raise Refusal(Reply(500, "5.5.1", "this is LMTP; say LHLO (RFC 2033 §4.1)"))
        return self._greet(argument)

    async def _lhlo(self, argument: str) -> Reply:
        if not self.listener.lmtp:
            raise Refusal(Reply(500, "5.5.1", "this is SMTP; say EHLO"))
        return self._greet(argument)

    def _greet(self, argument: str) -> Reply:
        self._check_name(argument)
        self.extended = True
        situation = Situation(
            self.server.settings.max_message_octets,
            self.server.tls is not None,
            self.tls,
            self.account is not None,
            self.listener.submission,
        )
        lines = [self.server.settings.hostname, *ehlo_lines(situation)]
        return Reply(250, "", "\n".join(lines))

    async def _mail(self, argument: str) -> Reply:
        if not self.helo:
            raise Refusal(Reply(503, "5.5.1", "say EHLO first"))
        if self.mail is not None:
            raise Refusal(Reply(503, "5.5.1", "a transaction is under way; RSET ends it"))
        if self.listener.submission and self.account is None:
            raise Refusal(Reply(530, "5.7.0", "authentication is required here"))
        path, parameters = self._path("FROM", argument, null=True)
        size, mail = parse_size(parameters), MailTransaction(path)
        mail.body = parse_body(parameters)
        mail.smtputf8 = parse_flag(parameters, "SMTPUTF8")
        mail.ret, mail.envid = parse_ret(parameters), parse_envid(parameters)
        parameters.pop("AUTH", None)  # RFC 4954 §5: we trust nobody's claim, and may ignore it.
        refuse_unknown(parameters)
        if not (path.is_ascii or mail.smtputf8):
            raise Refusal(Reply(553, "5.6.7", "this address needs the SMTPUTF8 parameter"))
        if size > self.server.settings.max_message_octets:
            raise Refusal(replies.TOO_BIG)
        await check_sender(self.server.directory, self.account, path)
        self.mail = mail
        return replies.SENDER_OK

    def _path(self, keyword: str, argument: str, *, null: bool) -> tuple[Path, dict[str, str]]:
        word, colon, rest = argument.partition(":")
        if word.strip().upper() != keyword or not colon:
            raise Refusal(Reply(501, "5.5.4", f"write {keyword}:<address>"))
        try:
            path, text = parse_path(rest.lstrip(), null=null)
        except PathError as error:
            status = "5.1.7" if keyword == "FROM" else "5.1.3"
            raise Refusal(Reply(501, status, str(error))) from error
        return path, split_parameters(text)

    async def _rcpt(self, argument: str) -> Reply:
        mail = self._transaction()
        path, parameters = self._path("TO", argument, null=False)
        notify, orcpt = parse_notify(parameters), parse_orcpt(parameters)
        refuse_unknown(parameters)
        if len(mail.recipients) >= self.server.settings.max_recipients:
            raise Refusal(Reply(452, "4.5.3", "too many recipients; send the rest separately"))
        if not path.domain:
            path = Path(path.local_part, self.server.settings.hostname.partition(".")[2])
        if not (path.is_ascii or mail.smtputf8):
            raise Refusal(Reply(553, "5.6.7", "this address needs the SMTPUTF8 parameter"))
        await check_recipient(self.server.directory, self.account, path)
        mail.add(path, notify, orcpt)
        return replies.RECIPIENT_OK

    def _transaction(self) -> MailTransaction:
        if self.mail is None:
            raise Refusal(Reply(503, "5.5.1", "say MAIL first"))
        return self.mail

    async def _data(self, argument: str) -> Reply | None:
        mail = self._transaction()
        if argument:
            raise Refusal(Reply(501, "5.5.4", "DATA takes no argument"))
        if not mail.recipients:
            raise Refusal(Reply(554, "5.5.1", "no valid recipients"))
        await self.send(Reply(354, "", "send the content, end it with CRLF.CRLF"))
        self.mail = None
        try:
            reply = await receive_content(self, mail)
        except Refusal as refusal:
            reply = refusal.reply
            self._note_refusal("DATA", reply, "")
        if reply.positive:
            self._accepted.inc()
        if not self.listener.lmtp:
            return reply
        # One reply for each recipient that was accepted (RFC 2033 §4.2).
        self._out += [reply.encode()] * (len(mail.recipients) - 1)
        return reply

    def count_octets(self, size: int) -> None:
        """Content was received."""
        self._octets.inc(size)

    async def _rset(self, argument: str) -> Reply:
        self.mail = None
        return replies.OK

    async def _noop(self, argument: str) -> Reply:
        return replies.OK

    async def _quit(self, argument: str) -> Reply:
        return Reply(221, "2.0.0", "goodbye")

    async def _vrfy(self, argument: str) -> Reply:
        # RFC 5321 §7.3: answering would tell strangers who exists.
        return Reply(252, "2.5.0", "cannot say; send, and see")

    async def _help(self, argument: str) -> Reply:
        return Reply(214, "2.0.0", f"commands: {' '.join(sorted(self._commands))}")

    async def _starttls(self, argument: str) -> Reply | None:
        if self.server.tls is None or self.tls:
            raise Refusal(Reply(502, "5.5.1", "TLS is active already, or not to be had"))
        await self.send(Reply(220, "2.0.0", "go ahead"))
        transport = self.transport
        transport.pause_reading()
        # What came before the handshake was not protected, and may have been slipped in by
        # somebody else: away with it (RFC 3207 §4.2, CVE-2011-0411).
        self._reader._buffer.clear()  # type: ignore[attr-defined]
        secure = await self.loop.start_tls(transport, self, self.server.tls, server_side=True)
        self.transport = secure
        self._reader._transport = secure  # type: ignore[attr-defined]
        self._writer._transport = secure  # type: ignore[attr-defined]
        self.tls, self.helo, self.mail, self.account = True, "", None, None
        return None

    async def _auth(self, argument: str) -> Reply:
        if not self.listener.submission:
            raise Refusal(Reply(502, "5.5.1", "this is not a submission port"))
        if not self.tls:
            raise Refusal(Reply(538, "5.7.11", "say STARTTLS first: passwords need TLS"))
        if self.account is not None or self.mail is not None or not self.extended:
            raise Refusal(replies.BAD_SEQUENCE)
        self.account = await authenticate(self, self.server.directory, argument)
        log.info("authenticated", account=self.account.address, peer=self.ip)
        return Reply(235, "2.7.0", "welcome")

    async def ask(self, challenge: bytes) -> bytes:
        """Send a 334 challenge; the client's line without its CRLF (RFC 4954 §4)."""
        self._out.append(b"334 " + challenge + b"\r\n")
        await self.flush()
        line = await self._reader.readuntil(b"\n")
        self._reset_timeout()
        if len(line) > MAX_AUTH_LINE:
            raise Refusal(Reply(500, "5.5.6", "line too long"))
        return line.rstrip(b"\r\n")

    def client(self) -> Client:
        """Who this is, for the record and the Received field."""
        protocol = "LMTP" if self.listener.lmtp else "ESMTP" if self.extended else "SMTP"
        if self.extended:
            # RFC 3848: S for TLS, A for an authenticated client.
            protocol += ("S" if self.tls else "") + ("A" if self.account else "")
        return Client(
            ip=self.ip,
            helo=self.helo,
            protocol=protocol,
            tls=self._cipher() if self.tls else "",
            account=self.account.id if self.account else 0,
            login=self.account.address if self.account else "",
        )

    def _cipher(self) -> str:
        cipher = self.transport.get_extra_info("cipher") if self.transport else None
        return f"{cipher[1]} {cipher[0]}" if cipher else "TLS"

    def drain(self) -> None:
        """Say 421 now when nothing is under way, else after it."""
        self.draining = True
        if self._idle and self.transport is not None:
            self._writer.write(replies.SHUTTING_DOWN.encode())
            self.transport.close()
