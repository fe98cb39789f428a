"""`make run`: the whole platform on one machine, tried with one real message before it says so."""

from __future__ import annotations

import asyncio
import email.utils
import imaplib
import os
import secrets
import shutil
import smtplib
import ssl
import sys
import time
from pathlib import Path

from sqlalchemy import func, select

from libs.common.accounts import registry
from libs.common.accounts.credential import hash_password
from libs.common.admin.keys import create_key, principal_of_key
from libs.common.admin.principal import local_operator
from libs.common.db import Database, open_database
from libs.common.db.migrate import migrate
from libs.common.db.schema import account
from libs.common.runtime.log import configure_logging
from libs.common.runtime.settings import PlatformSettings
from libs.common.trace.search import tell
from services.__main__ import ROLES, running, stop_on_signals
from services.platform import Platform, StartError

DOMAIN = "example.test"
NAMES = ("alice", "bob")
_VAR = Path("var")
_ENV = _VAR / "demo.env"
_MIN_FREE = 200 * 1024 * 1024
_READY_SECONDS = 60
_ARRIVAL_SECONDS = 30


def run_demo() -> None:
    """Set up what is missing, start every role, try one message, and stay until Ctrl-C."""
    import uvloop

    _check_disk()
    _VAR.mkdir(exist_ok=True)
    _use_certificates()
    os.environ.setdefault("HOLUB_LOG_LEVEL", "warning")
    os.environ.setdefault("HOLUB_IMAP_ALLOW_PLAIN_LOGIN", "true")
    os.environ.setdefault("HOLUB_POP3_ALLOW_PLAIN_LOGIN", "true")
    os.environ.setdefault("HOLUB_MANAGESIEVE_ALLOW_PLAIN_LOGIN", "true")
    settings: PlatformSettings = PlatformSettings.load()
    configure_logging(settings.log_level, settings.log_format)
    uvloop.run(_run(settings))


def _check_disk() -> None:
    free = shutil.disk_usage(".").free
    if free < _MIN_FREE:
        raise StartError(
            f"only {free // 1024**2} MiB are free here, and mail needs room: free at least"
            f" {_MIN_FREE // 1024**2} MiB, or run this in a folder on another disk"
        )


def _use_certificates() -> None:
    if os.environ.get("HOLUB_TLS_CERTIFICATE"):
        return
    from services.cli.certificates import ensure_certificate

    names = [f"mail.{DOMAIN}", DOMAIN, "localhost"]
    _, certificate, key = ensure_certificate(_VAR / "tls", names)
    os.environ["HOLUB_TLS_CERTIFICATE"] = str(certificate)
    os.environ["HOLUB_TLS_KEY"] = str(key)


async def _run(settings: PlatformSettings) -> None:
    database = open_database(settings.database_url, pool=2)
    try:
        await migrate(database)
        credentials = await _ensure_demo(database)
    finally:
        await database.close()
    async with running(settings, ROLES) as platform:
        stop_on_signals(platform)
        if await _wait_until_ready(platform):
            mail_id = await _try_one(platform, credentials["HOLUB_DEMO_PASSWORD"])
            if not platform.stopping.is_set():
                await _print_table(platform, credentials, mail_id)
        await platform.stopping.wait()
        print("\nfinishing what is in hand ...", flush=True)


def _read_env() -> dict[str, str]:
    if not _ENV.exists():
        return {}
    pairs = (line.partition("=") for line in _ENV.read_text().splitlines())
    return {name: value for name, equals, value in pairs if equals}


async def _ensure_demo(database: Database) -> dict[str, str]:
    """The demo domain, accounts and credentials; a second start keeps what there is."""
    known = _read_env()
    password = known.get("HOLUB_DEMO_PASSWORD") or secrets.token_urlsafe(12)
    await registry.create_domain(database, DOMAIN, exists_ok=True)
    addresses = [f"{name}@{DOMAIN}" for name in NAMES]
    query = select(func.count()).select_from(account).where(account.c.address.in_(addresses))
    async with database.reading() as transaction:
        there = int(await transaction.scalar(query))
    if there == 0:
        await registry.create_accounts(database, addresses, hash_password(password))
    elif not known.get("HOLUB_DEMO_PASSWORD"):
        for address in addresses:
            hashed = hash_password(password)
            await registry.change_account(database, address, password_hash=hashed)
    key = known.get("HOLUB_API_KEY", "")
    if not key or await principal_of_key(database, key, "") is None:
        key = (await create_key(database, local_operator("demo"), "demo"))["key"]
    credentials = {"HOLUB_DEMO_PASSWORD": password, "HOLUB_API_KEY": key}
    _ENV.touch(mode=0o600)
    _ENV.chmod(0o600)
    _ENV.write_text("".join(f"{name}={value}\n" for name, value in credentials.items()))
    return credentials


async def _wait_until_ready(platform: Platform) -> bool:
    """True when every role is ready; False when the start was broken off."""
    end = time.monotonic() + _READY_SECONDS
    while waiting := platform.health.waiting_for:
        if platform.stopping.is_set():
            return False
        if time.monotonic() > end:
            raise StartError(f"not ready after {_READY_SECONDS} s: {', '.join(waiting)}")
        await asyncio.sleep(0.05)
    return True


async def _try_one(platform: Platform, password: str) -> str:
    """Send one message through SMTP, read it back through IMAP; its mail_id."""
    token = secrets.token_hex(8)
    mail_id = await asyncio.to_thread(_send, token)
    end = time.monotonic() + _ARRIVAL_SECONDS
    while not await asyncio.to_thread(_read_back, token, password):
        if platform.stopping.is_set():
            return mail_id
        if time.monotonic() > end:
            raise StartError(
                f"the first message did not arrive within {_ARRIVAL_SECONDS} s;"
                f" look at it with: .venv/bin/holub trace {mail_id}"
            )
        await asyncio.sleep(0.2)
    return mail_id


def _send(token: str) -> str:
    from services.ingress.settings import IngressSettings

    settings: IngressSettings = IngressSettings.load()
    content = (
        f"From: Bob <bob@{DOMAIN}>\r\nTo: Alice <alice@{DOMAIN}>\r\n"
        f"Subject: Welcome to Holub\r\nDate: {email.utils.formatdate()}\r\n"
        f"Message-ID: <welcome.{token}@{DOMAIN}>\r\n\r\n"
        "This message went in by SMTP, through filter, delivery and storage,\r\n"
        "and you read it by IMAP.\r\n"
    )
    with smtplib.SMTP(settings.host, settings.smtp_port, timeout=30) as client:
        client.ehlo(f"mail.{DOMAIN}")
        client.mail(f"bob@{DOMAIN}")
        client.rcpt(f"alice@{DOMAIN}")
        code, text = client.data(content)
    if code != 250:
        raise StartError(f"the first message was not accepted: {code} {text.decode()}")
    return text.decode().split()[-1]


def _read_back(token: str, password: str) -> bool:
    from services.imap.settings import ImapSettings

    settings: ImapSettings = ImapSettings.load()
    context = ssl.create_default_context(cafile=str(_VAR / "tls" / "ca.pem"))
    if not (_VAR / "tls" / "ca.pem").exists():
        context = ssl.create_default_context()
    client = imaplib.IMAP4(settings.host, settings.port, timeout=30)
    try:
        client.starttls(context) if settings.host in ("127.0.0.1", "localhost") else None
        client.login(f"alice@{DOMAIN}", password)
        client.select("INBOX", readonly=True)
        _, found = client.search(None, "HEADER", "Message-ID", f"welcome.{token}")
        if not found[0]:
            return False
        _, parts = client.fetch(found[0].split()[-1].decode(), "(BODY.PEEK[])")
        return any(token.encode() in part[1] for part in parts if isinstance(part, tuple))
    finally:
        client.logout()


async def _print_table(platform: Platform, credentials: dict[str, str], mail_id: str) -> None:
    from rich.console import Console
    from rich.table import Table

    story = await tell(platform.database, mail_id)
    way = " -> ".join(dict.fromkeys(step["stage"] for step in story["steps"]))
    console = Console(highlight=False, width=110)
    table = Table(title="Holub is ready", show_header=True)
    table.add_column("what")
    table.add_column("where", overflow="fold")
    for role, text in platform.notes:
        table.add_row(role, text)
    console.print(table)
    console.print(_next_steps(f"{way} -> imap", mail_id), markup=False)
    sys.stdout.flush()


def _next_steps(way: str, mail_id: str) -> str:
    """What to try, with the ports that are in force."""
    from services.api.settings import ApiSettings
    from services.imap.settings import ImapSettings
    from services.ingress.settings import IngressSettings
    from services.managesieve.settings import ManageSieveSettings
    from services.pop3.settings import Pop3Settings

    smtp: IngressSettings = IngressSettings.load()
    imap: ImapSettings = ImapSettings.load()
    pop3: Pop3Settings = Pop3Settings.load()
    sieve: ManageSieveSettings = ManageSieveSettings.load()
    api: ApiSettings = ApiSettings.load()
    swaks = f"swaks --server {smtp.host}:{smtp.smtp_port} --from you@example.org"
    return (
        f"One message went through {way}.\n"
        f"  its way      .venv/bin/holub trace {mail_id}\n"
        f"  send         {swaks} --to alice@{DOMAIN}\n"
        f"  read         any IMAP client: {imap.host} port {imap.port} (STARTTLS) or"
        f" {imap.tls_port} (TLS); POP3: port {pop3.port} or {pop3.tls_port}\n"
        f"  filter       Sieve scripts: any ManageSieve client, port {sieve.port};"
        " or: holub sieve --help\n"
        f"               login alice@{DOMAIN}, password in {_ENV}\n"
        f"  console      http://{api.host}:{api.port}/ (API at /docs, key in {_ENV})\n"
        f"  trust        {_VAR / 'tls' / 'ca.pem'} is the CA of the certificates\n"
        "Ctrl-C stops it; all mail is kept for the next start."
    )
