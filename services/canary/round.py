"""One round: send, wait until it can be read, remove it."""

from __future__ import annotations

import contextlib
import email.utils
import imaplib
import secrets
import smtplib
import ssl
import threading
import time
from collections.abc import Iterator
from enum import StrEnum

from services.canary.settings import CanarySettings

HEADER = "X-Holub-Canary"
_POLL_SECONDS = 0.25
_DOT_SECONDS = 35.0
_FAULTS = (OSError, smtplib.SMTPException, imaplib.IMAP4.error)


class Result(StrEnum):
    """How a round ended."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    LATE = "late"
    STOPPED = "stopped"


def make_round(settings: CanarySettings, stop: threading.Event) -> tuple[Result, float, str]:
    """(result, seconds from the 250 until it was read, why it failed); blocks."""
    token = secrets.token_hex(12)
    try:
        reply = _send(settings, token)
    except _FAULTS as error:
        return Result.REFUSED, 0.0, f"submission: {error}"
    start = time.monotonic()
    try:
        found = _await(settings, token, start, stop)
    except _FAULTS as error:
        return Result.UNREADABLE, 0.0, f"IMAP: {error}; sent as {reply}"
    took = time.monotonic() - start
    if found:
        return Result.DELIVERED, took, ""
    if stop.is_set():
        return Result.STOPPED, took, ""
    return Result.LATE, took, f"not there after {took:.0f} s; holub trace {reply.split()[-1]}"


def _context(settings: CanarySettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.authorities or None)


def _send(settings: CanarySettings, token: str) -> str:
    """Submit one message; the text of the 250."""
    where = settings.smtp_host, settings.smtp_port
    seconds = settings.network_seconds
    client = (
        smtplib.SMTP_SSL(*where, timeout=seconds, context=_context(settings))
        if settings.tls == "tls"
        else smtplib.SMTP(*where, timeout=seconds)
    )
    with client:
        if settings.tls == "starttls":
            client.starttls(context=_context(settings))
        client.login(settings.address, settings.secret())
        client.mail(settings.address)
        code, text = client.rcpt(settings.address)
        if code == 250:
            if client.sock:
                # Before this reply the message is stored and looked at.
                client.sock.settimeout(max(seconds, _DOT_SECONDS))
            code, text = client.data(_message(settings.address, token))
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode(errors="replace")


def _message(address: str, token: str) -> bytes:
    domain = address.rpartition("@")[2]
    return (
        f"From: <{address}>\r\nTo: <{address}>\r\nSubject: canary\r\n"
        f"Date: {email.utils.formatdate()}\r\nMessage-ID: <{token}@{domain}>\r\n"
        f"{HEADER}: {token}\r\nAuto-Submitted: auto-generated\r\n\r\n"
        "Sent and read by holub canary, then removed.\r\n"
    ).encode()


def _await(settings: CanarySettings, token: str, start: float, stop: threading.Event) -> bool:
    with _mailbox(settings) as client:
        while True:
            if _numbers(client, token):
                _remove(client)
                return True
            left = settings.arrival_seconds - (time.monotonic() - start)
            if left <= 0 or stop.wait(min(_POLL_SECONDS, left)):
                return False


@contextlib.contextmanager
def _mailbox(settings: CanarySettings) -> Iterator[imaplib.IMAP4]:
    where = settings.imap_host, settings.imap_port
    seconds = settings.network_seconds
    client = (
        imaplib.IMAP4_SSL(*where, timeout=seconds, ssl_context=_context(settings))
        if settings.tls == "tls"
        else imaplib.IMAP4(*where, timeout=seconds)
    )
    try:
        if settings.tls == "starttls":
            client.starttls(_context(settings))
        client.login(settings.address, settings.secret())
        client.select("INBOX")
        yield client
    finally:
        with contextlib.suppress(*_FAULTS):
            client.logout()


def _numbers(client: imaplib.IMAP4, token: str) -> list[bytes]:
    client.noop()
    _, found = client.search(None, "HEADER", HEADER, token or '""')
    return found[0].split() if found and found[0] else []


def _remove(client: imaplib.IMAP4) -> None:
    """Every canary message, also those that were late in an earlier round."""
    if numbers := _numbers(client, ""):
        client.store(b",".join(numbers).decode(), "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
