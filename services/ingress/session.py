"""One SMTP, submission or LMTP session: its state, and the loop from command to reply."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter

from libs.common.accounts import Account
from libs.common.jobs import Client
from libs.common.runtime.log import get_logger
from libs.common.trace import TraceRow
from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.command import COMMANDS
from services.ingress.connection import Connection
from services.ingress.listener import Listener
from services.ingress.screen.screen import Screening
from services.ingress.server import Server
from services.ingress.transaction import MailTransaction

log = get_logger(__name__)
_ACCEPTED = Counter("holub_ingress_accepted_total", "Messages answered 250.", ["listener"])
_REFUSED = Counter("holub_ingress_refused_total", "Refusals.", ["listener", "stage", "status"])
_OCTETS = Counter("holub_ingress_octets_total", "Octets of content received.", ["listener"])

IDLE_TALK = Reply(421, "4.7.0", "too many commands without a message; closing")
SLOW = Reply(421, "4.4.2", "the content comes too slowly; closing")
MAX_COMMAND = 2048
"""Octets of a command line with its CRLF; four times RFC 5321 §4.5.3.1.4, for parameters."""


class Session(Connection):
    """Speaks with one client."""

    def __init__(self, server: Server, listener: Listener, *, tls: bool, ip: str = "") -> None:
        settings = server.settings
        super().__init__(settings.timeout_seconds, settings.handshake_seconds, tls=tls)
        self.claimed_ip = ip
        self.rdns = ""
        self.server = server
        self.listener = listener
        self.accepted = _ACCEPTED.labels(listener.name)
        self.octets = _OCTETS.labels(listener.name)
        self.account: Account | None = None
        self.mail: MailTransaction | None = None
        self.screening: Screening | None = None
        """What is asked of a stranger; None: nothing."""
        self._errors = 0
        self.idle_commands = 0
        """Commands since the last message that bring none nearer."""
        self.forget()

    def forget(self) -> None:
        """As if the client had just connected (RFC 3207 §4.2)."""
        self.helo = ""
        self.extended = False
        self.account = None
        self.end_transaction()

    def end_transaction(self) -> None:
        """What was taken of a message so far is thrown away (RFC 5321 §4.1.1.5)."""
        if self.mail is not None and self.mail.content is not None:
            self.mail.content.close()
        self.mail = None

    def connection_lost(self, error: Exception | None) -> None:
        """The session ends; a commit under way does not."""
        self.server.sessions.discard(self)
        self.end_transaction()
        if self.screening is not None:
            self.screening.close()
        super().connection_lost(error)

    async def converse(self) -> None:
        """From the greeting to the end."""
        if len(self.server.sessions) >= self.server.settings.max_connections:
            await self.send(Reply(421, "4.7.0", "too many connections; please try again later"))
            return
        self.server.sessions.add(self)
        greeting = await self.begin(pause=True)
        if not greeting.positive:
            await self.send(greeting)
            return
        self.say(greeting)
        while self.open and (line := await self.next_line()) is not None:
            reply = await self._answer(line)
            if reply is not None and not await self._reply(reply):
                return

    async def begin(self, *, pause: bool = False) -> Reply:
        """The greeting, or why there is no session for this client."""
        if self.screening is not None:
            self.screening.close()  # XCLIENT: it is somebody else
            self.screening = None
        if self.server.screen is None or not self.listener.screened:
            return self._greeting()
        self.screening = screening = self.server.screen.begin(self.ip)
        if screening is None:
            return self._greeting()
        refusal = screening.enter()
        if refusal is None and pause and screening.pause:
            await asyncio.sleep(screening.pause)
            refusal = screening.spoke_early() if self.has_input else None
        return refusal or self._greeting()

    def too_slow(self, now: float) -> Reply | None:
        """Asked when the session's timer goes off."""
        content = self.mail.content if self.mail is not None else None
        settings = self.server.settings
        if content is not None and content.pace.too_slow(
            now,
            content.received,
            over_seconds=settings.timeout_seconds / 2,
            least=settings.min_octets_per_second,
        ):
            return SLOW
        return None

    def _greeting(self) -> Reply:
        kind = "LMTP" if self.listener.lmtp else "ESMTP"
        return Reply(220, "", f"{self.server.settings.hostname} {kind} Holub")

    async def _reply(self, reply: Reply) -> bool:
        """Queue a reply; False when the session is to be closed after it."""
        self.say(reply)
        if reply.code in (221, 421):
            await self.flush()
            return False
        if not reply.positive:
            self._errors += 1
            if self.screening is not None:
                await self.screening.slow_down(self._errors)
            if self._errors >= self.server.settings.max_errors:
                await self.send(Reply(421, "4.7.0", "too many errors; closing"))
                return False
        return True

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
        verb = verb.upper()
        command = COMMANDS.get(verb)
        if command is None:
            return Reply(500, "5.5.1", "no such command")
        if self.screening is not None and self.has_input:
            refusal = self.screening.out_of_step(verb, extended=self.extended)
            if refusal is not None:
                await self._hang_up(refusal)
                return None
        try:
            return await command(self, argument.strip())
        except Refusal as refusal:
            self.note_refusal(verb, refusal.reply, argument)
            return refusal.reply
        except (ConnectionError, asyncio.IncompleteReadError):
            raise
        except Exception:
            # The client will try again later, so a fault of ours costs no mail.
            log.exception("no reply to a command", command=verb[:8], peer=self.ip)
            return replies.LOCAL_ERROR

    async def _hang_up(self, reply: Reply) -> None:
        await self.send(reply)
        self.transport.close()

    def note_refusal(self, stage: str, reply: Reply, argument: str = "") -> None:
        """Count a refusal; of a sender or recipient, the trace also says why."""
        _REFUSED.labels(self.listener.name, stage.lower(), reply.status).inc()
        if self.screening is not None and reply.status == "5.1.1":
            self.screening.unknown()
        if stage not in ("MAIL", "RCPT"):
            return
        mail_id = self.mail.mail_id if self.mail else ""
        why = f"{reply.code} {reply.status} {reply.text} [{self.ip}]"
        log.info("refused", mail_id=mail_id, stage=stage, reply=why, peer=self.ip)
        if mail_id:
            recipient = argument.partition("<")[2].partition(">")[0][:320]
            self.server.trace.add(TraceRow(mail_id, "ingress", "refused", -1, recipient, why))

    def count_idle(self) -> None:
        """One more; a `Refusal` that closes the session when there were too many (S10)."""
        self.idle_commands += 1
        if self.idle_commands > self.server.settings.max_idle_commands:
            raise Refusal(IDLE_TALK)

    def transaction(self) -> MailTransaction:
        """The one under way; a `Refusal` when there is none."""
        if self.mail is None:
            raise Refusal(Reply(503, "5.5.1", "say MAIL first"))
        return self.mail

    def client(self) -> Client:
        """Who this is, for the record and the Received field."""
        protocol = "LMTP" if self.listener.lmtp else "ESMTP" if self.extended else "SMTP"
        if self.extended:
            # RFC 3848: S for TLS, A for an authenticated client.
            protocol += ("S" if self.tls else "") + ("A" if self.account else "")
        return Client(
            ip=self.ip,
            rdns=self.rdns or (self.screening.rdns if self.screening is not None else ""),
            helo=self.helo,
            protocol=protocol,
            tls=self.cipher,
            account=self.account.id if self.account else 0,
            login=self.account.address if self.account else "",
        )
