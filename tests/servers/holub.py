"""The platform itself as tests start it: processes with settings and ports of their own."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import os
import signal
import smtplib
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from libs.common.accounts.credential import hash_password
from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.db import open_database
from services.cli.certificates import ensure_certificate
from tests.servers import forked
from tests.servers.forked import Forked
from tests.servers.process import free_ports
from tests.servers.schema import at_head

DOMAIN = "example.test"
PASSWORD = "correct horse battery"
ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 40


class Holub:
    """Roles as processes over the given backends (the embedded ones by default)."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        names = (
            "smtp",
            "submission",
            "submissions",
            "lmtp",
            "imap",
            "imaps",
            "pop3",
            "pop3s",
            "managesieve",
            "api",
        )
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.ca, certificate, key = ensure_certificate(folder / "tls", ["localhost"])
        self.folder = folder
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HOLUB_")},
            "HOLUB_DATABASE_URL": f"sqlite:///{folder}/holub.db",
            "HOLUB_QUEUE_URL": f"sqlite:///{folder}/queue.db",
            "HOLUB_BLOB_URL": f"file:{folder}/blobs",
            "HOLUB_TLS_CERTIFICATE": str(certificate),
            "HOLUB_TLS_KEY": str(key),
            "HOLUB_INGRESS_SMTP_PORT": str(self.ports["smtp"]),
            "HOLUB_INGRESS_SUBMISSION_PORT": str(self.ports["submission"]),
            "HOLUB_INGRESS_SUBMISSIONS_PORT": str(self.ports["submissions"]),
            "HOLUB_INGRESS_LMTP_PORT": str(self.ports["lmtp"]),
            "HOLUB_IMAP_PORT": str(self.ports["imap"]),
            "HOLUB_IMAP_TLS_PORT": str(self.ports["imaps"]),
            "HOLUB_IMAP_ALLOW_PLAIN_LOGIN": "true",
            "HOLUB_POP3_PORT": str(self.ports["pop3"]),
            "HOLUB_POP3_TLS_PORT": str(self.ports["pop3s"]),
            "HOLUB_POP3_ALLOW_PLAIN_LOGIN": "true",
            "HOLUB_MANAGESIEVE_PORT": str(self.ports["managesieve"]),
            "HOLUB_MANAGESIEVE_ALLOW_PLAIN_LOGIN": "true",
            "HOLUB_API_PORT": str(self.ports["api"]),
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        self.processes: list[Forked | subprocess.Popen[bytes]] = []

    def command(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run `holub WORDS`."""
        return forked.run(words, self.env, ROOT, given, seconds=60)

    def must(self, *words: str, given: str = "") -> str:
        """The same, which must succeed; its output."""
        done = self.command(*words, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def prepare(self, *names: str) -> None:
        """Migrate, and create the domain with accounts that share one password."""
        asyncio.run(_prepare(self.env["HOLUB_DATABASE_URL"], names))

    def start(self, *roles: str, env: Mapping[str, str] | None = None) -> Forked:
        """Start one process with these roles, and wait until it is ready."""
        (port,) = free_ports(1)
        log = self.folder / f"{'-'.join(roles)}.log"
        env = {**self.env, "HOLUB_HEALTH_PORT": str(port), **(env or {})}
        process = Forked(["run", *roles], env, ROOT, out=log, err=log)
        self.processes.append(process)
        end = time.monotonic() + _READY_SECONDS
        while not _ready(port):
            ended = process.poll()
            text = log.read_text()[-3000:]
            assert ended is None, f"{roles} ended with {ended}:\n{text}"
            assert time.monotonic() < end, f"{roles} not ready:\n{text}"
            time.sleep(0.05)
        return process

    def stop(self) -> list[int]:
        """SIGTERM to all, and their exit codes."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in self.processes]
        self.processes.clear()
        return codes

    def kill(self) -> None:
        """SIGKILL to all."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the development CA."""
        return ssl.create_default_context(cafile=str(self.ca))

    @contextlib.contextmanager
    def smtp(self) -> Iterator[smtplib.SMTP]:
        """A session on the MX port."""
        with smtplib.SMTP("localhost", self.ports["smtp"], timeout=40) as client:
            yield client

    def send(self, content: bytes, *to: str, sender: str = "you@elsewhere.example") -> str:
        """Send by SMTP with CRLF as it is; the mail_id in the 250."""
        with self.smtp() as client:
            client.ehlo("client.elsewhere.example")
            client.mail(sender)
            for address in to:
                code, text = client.rcpt(address)
                if code != 250:
                    raise smtplib.SMTPResponseException(code, text)
            code, text = client.data(content)
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        return text.decode().split()[-1]

    @contextlib.contextmanager
    def imap(self, name: str) -> Iterator[imaplib.IMAP4]:
        """A session of `name`, logged in."""
        client = imaplib.IMAP4("localhost", self.ports["imap"], timeout=40)
        try:
            client.login(f"{name}@{DOMAIN}", PASSWORD)
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def contents(self, name: str, mailbox: str = "INBOX") -> list[bytes]:
        """Every message in a mailbox, as IMAP gives it."""
        with self.imap(name) as client:
            code, _ = client.select(mailbox, readonly=True)
            assert code == "OK"
            _, parts = client.fetch("1:*", "(BODY.PEEK[])")
        return [part[1] for part in parts if isinstance(part, tuple)]

    def wait_for(
        self, name: str, count: int, mailbox: str = "INBOX", seconds: float = 30
    ) -> list[bytes]:
        """The contents of a mailbox as soon as it holds `count` messages."""
        end = time.monotonic() + seconds
        while (found := self.count(name, mailbox)) < count:
            assert time.monotonic() < end, f"{found} of {count} messages in {name}'s {mailbox}"
            time.sleep(0.1)
        return self.contents(name, mailbox)

    def count(self, name: str, mailbox: str = "INBOX") -> int:
        """How many messages a mailbox holds."""
        with self.imap(name) as client:
            _, found = client.select(mailbox, readonly=True)
        return int(found[0] or 0)


async def _prepare(url: str, names: Sequence[str]) -> None:
    database = open_database(url, pool=1)
    await at_head(database)
    await create_domain(database, DOMAIN)
    addresses = [f"{name}@{DOMAIN}" for name in names]
    if addresses:
        await create_accounts(database, addresses, hash_password(PASSWORD))
    await database.close()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def run_roles(holub: Holub, roles: Sequence[str]) -> None:
    """Start each role as a process of its own."""
    for role in roles:
        holub.start(role)
