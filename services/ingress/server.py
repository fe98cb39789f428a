"""What all sessions of the process share."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from libs.common.accounts import Directory
from libs.common.accounts.authenticator import Authenticator
from libs.common.blobstore.spool import SpoolFile
from libs.common.jobs import RecordHeader
from libs.common.runtime.log import get_logger
from libs.common.trace import TraceWriter
from libs.protocols.smtp.reply import Reply
from services.ingress.allowance import Allowance
from services.ingress.commit import Commit
from services.ingress.peers import parse_networks
from services.ingress.settings import IngressSettings

if TYPE_CHECKING:
    from services.ingress.engines import Engines
    from services.ingress.screen.screen import Screen
    from services.ingress.session import Session

log = get_logger(__name__)
_SESSIONS = Gauge("holub_ingress_sessions", "Open sessions.")


class Server:
    """Settings, directory, commit, and the sessions and commits under way."""

    def __init__(
        self,
        settings: IngressSettings,
        directory: Directory,
        authenticator: Authenticator,
        commit: Commit,
        allowance: Allowance,
        trace: TraceWriter,
        tls: ssl.SSLContext | None,
        screen: Screen | None = None,
        engines: Engines | None = None,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.authenticator = authenticator
        self.allowance = allowance
        self.trace = trace
        self.tls = tls
        self.screen = screen
        self.engines = engines
        self.xclient_networks = parse_networks(settings.xclient_networks)
        self.sessions: set[Session] = set()
        self._commit = commit
        self._commits: dict[asyncio.Task[Reply], SpoolFile] = {}
        _SESSIONS.set_function(lambda: len(self.sessions))

    def commit_task(
        self, header: RecordHeader, content: bytes | SpoolFile, spool: SpoolFile
    ) -> asyncio.Task[Reply]:
        """Start a commit; it goes on when its session ends, and closes the spool after it."""
        task = asyncio.create_task(self._commit.run(header, content))
        self._commits[task] = spool
        task.add_done_callback(lambda done: self._commits.pop(done).close())
        return task

    def log_message(self, header: RecordHeader, size: int, reply: Reply) -> None:
        """The one line of a message."""
        log.info(
            "accepted" if reply.positive else "refused",
            mail_id=header.mail_id,
            listener=header.listener,
            peer=header.client.ip,
            helo=header.client.helo,
            reverse_path=header.envelope.reverse_path,
            recipients=len(header.envelope.recipients),
            size=size,
            reply=f"{reply.code} {reply.status} {reply.text}",
            took=round(time.time() - header.received_at, 4),
        )

    def log_fault(self, mail_id: str, error: OSError) -> None:
        """A fault of this machine that a client was told 451 for."""
        log.error("content not kept", mail_id=mail_id, error=str(error))

    async def drain(self) -> None:
        """421 to idle sessions; wait for content and commits under way."""
        for session in list(self.sessions):
            session.drain()
        while self.sessions or self._commits:
            await asyncio.sleep(0.05)  # once in the life of a process
