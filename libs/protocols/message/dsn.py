"""Delivery status notifications: RFC 3464 inside RFC 6522, in words that people understand.

The result is 7-bit ASCII with CRLF line breaks only, whatever the other host said and whatever the
returned header holds, so that it can go through every host and stays as it was signed.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from libs.protocols.message.date import format_date

MAX_RETURNED_OCTETS = 65_536
"""Octets of the original header section that are returned."""

MAX_DIAGNOSTIC = 1_000
"""Characters of what the other host said that are passed on, for each recipient."""

_LINE = 76
# RFC 5321 §4.5.3.1.3: a path has 256 octets; what is longer was no address.
_MAX_ADDRESS = 512
_BREAK = re.compile(r"[\r\n]+")
_CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f]")
_TOKEN = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}")
_SUBJECTS = {
    "failed": "Undelivered Mail: returned to sender",
    "delayed": "Delayed Mail (still being tried)",
    "relayed": "Your mail was handed on",
}
_STATUSES = {"failed": "5.0.0", "delayed": "4.0.0", "relayed": "2.0.0"}
_OPENINGS = {
    "failed": (
        "We are sorry: your message could not be delivered to the recipients below,",
        "and we will not try again. For help, send this report to your postmaster.",
    ),
    "delayed": (
        "Your message could not be delivered yet. You need not send it again:",
        "we keep trying, and tell you if we have to give up.",
    ),
    "relayed": (
        "Your message was handed to the host of the recipients below. That host does not",
        "report success, so you hear no more of it, unless it fails there.",
    ),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of one recipient."""

    recipient: str
    """The address that we tried."""
    status: str
    """The enhanced status code, `5.1.1` (RFC 3463)."""
    reply: str
    """The SMTP reply or our own reason; may have several lines."""
    remote_host: str = ""
    """The host that said it; empty: we decided this ourselves."""
    original_recipient: str = ""
    """ORCPT as it was given, `rfc822;address` (RFC 3461 §4.2), decoded from xtext."""
    last_attempt_at: float | None = None
    retry_until: float | None = None
    """Until when we go on trying; for delays."""


def compose_dsn(
    *,
    action: str,
    failures: Sequence[Failure],
    reporting_host: str,
    sender_address: str,
    recipient: str,
    message_id: str,
    boundary: str,
    at: float,
    arrived_at: float | None = None,
    envelope_id: str = "",
    mail_id: str = "",
    original_header: bytes = b"",
) -> bytes:
    """A complete message that tells `recipient` what happened.  Its reverse-path must be null.

    `action` is `failed`, `delayed` or `relayed` (RFC 3464 §2.3.3); `sender_address` is what From
    shows; `recipient` is the reverse-path of the original; `message_id` has its angle brackets;
    times are seconds since 1970; `mail_id` is our name for the original; `original_header` is its
    header section.
    """
    text = _text(action, failures, reporting_host, mail_id)
    status = _delivery_status(action, failures, reporting_host, arrived_at, envelope_id)
    parts = [
        _part("text/plain; charset=utf-8", text.encode("utf-8", "replace")),
        _part("message/delivery-status", status),
        _part("text/rfc822-headers", _returned(original_header)),
    ]
    mark = _boundary(boundary, parts)
    opening = b"--%b\r\n" % mark
    return b"".join(
        [
            _header(action, reporting_host, sender_address, recipient, message_id, at, mark),
            b"This is a delivery report in MIME format.\r\n\r\n",
            *(opening + part for part in parts),
            b"--%b--\r\n" % mark,
        ]
    )


def _header(
    action: str,
    host: str,
    sender_address: str,
    recipient: str,
    message_id: str,
    at: float,
    mark: bytes,
) -> bytes:
    lines = [
        f"From: Mail Delivery System <{_ascii(sender_address[:_MAX_ADDRESS])}>",
        f"To: <{_ascii(recipient[:_MAX_ADDRESS])}>",
        f"Subject: {_SUBJECTS[action]}",
        f"Date: {format_date(at)}",
        f"Message-ID: {_ascii(message_id[:_MAX_ADDRESS])}",
        # RFC 3834 §5: whoever answers automatically must not answer this.
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{mark.decode()}"',
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _text(action: str, failures: Sequence[Failure], host: str, mail_id: str) -> str:
    lines = [f"This is the mail system at {host}.", "", *_OPENINGS[action]]
    for failure in failures:
        lines += ["", *_explained(failure)]
    if mail_id:
        lines += ["", f"Our reference for your message: {mail_id}"]
    return "\n".join(_CONTROL.sub("?", line) for line in lines) + "\n"


def _explained(failure: Failure) -> list[str]:
    lines = [f"<{_one_line(failure.recipient)}>"]
    said = [line for line in _BREAK.split(failure.reply[:MAX_DIAGNOSTIC]) if line.strip()]
    if failure.remote_host:
        lines.append(f"    The host {_one_line(failure.remote_host)} said:")
    lines += [f"    {line.strip()}" for line in said]
    if failure.retry_until is not None:
        lines.append(f"    We try again until {format_date(failure.retry_until)}.")
    return lines


def _delivery_status(
    action: str,
    failures: Sequence[Failure],
    host: str,
    arrived_at: float | None,
    envelope_id: str,
) -> bytes:
    # RFC 3464 §2.2.1: Original-Envelope-Id is what ENVID was, without its xtext.
    about = [("Original-Envelope-Id", envelope_id), ("Reporting-MTA", f"dns; {host}")]
    if arrived_at is not None:
        about.append(("Arrival-Date", format_date(arrived_at)))
    groups = [about, *(_recipient_fields(action, failure) for failure in failures)]
    return b"\r\n".join(
        b"".join(_field(name, value) for name, value in group if value) for group in groups
    )


def _recipient_fields(action: str, failure: Failure) -> list[tuple[str, str]]:
    original = failure.original_recipient
    kind, separator, address = original.partition(";")
    if separator and not address.isascii():
        original = f"utf-8; {_escaped(address)}"
    diagnostic = " ".join(failure.reply[:MAX_DIAGNOSTIC].split())
    # RFC 3464 §2.3.6: `smtp` is for what a host said; what we say has a type of our own.
    said = "smtp" if failure.remote_host else "x-holub"
    status = failure.status if _TOKEN.fullmatch(failure.status) else ""
    return [
        ("Original-Recipient", original if separator and kind else ""),
        ("Final-Recipient", _typed(failure.recipient)),
        ("Action", action),
        ("Status", status or _STATUSES[action]),
        ("Remote-MTA", f"dns; {failure.remote_host}" if failure.remote_host else ""),
        ("Diagnostic-Code", f"{said}; {diagnostic}" if diagnostic else ""),
        ("Last-Attempt-Date", _date(failure.last_attempt_at)),
        ("Will-Retry-Until", _date(failure.retry_until)),
    ]


def _date(at: float | None) -> str:
    return "" if at is None else format_date(at)


def _typed(address: str) -> str:
    # RFC 6533 §3: an address with other than ASCII is of type utf-8, and escaped where a report
    # must be 7-bit.
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {_escaped(address)}"


def _escaped(address: str) -> str:
    return "".join(sign if "!" <= sign <= "~" else f"\\x{{{ord(sign):X}}}" for sign in address)


def _one_line(text: str) -> str:
    return _CONTROL.sub("?", _BREAK.sub(" ", text)).strip()


def _ascii(text: str) -> str:
    """The text as one line of ASCII; other signs become question marks."""
    return _one_line(text).encode("ascii", "replace").decode()


def _field(name: str, value: str) -> bytes:
    """A field folded at spaces (RFC 5322 §2.2.3)."""
    lines = [f"{name}:"]
    for word in _ascii(value).split(" "):
        if len(lines[-1]) + len(word) >= _LINE and len(lines[-1]) > len(name) + 1:
            lines.append(f" {word}")
        else:
            lines[-1] += f" {word}"
    return "\r\n".join(lines).encode() + b"\r\n"


def _part(media: str, text: bytes) -> bytes:
    """A part whose lines all end with CRLF, quoted-printable where it must be."""
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    encoding = b"7bit"
    # RFC 5322 §2.1.1 allows lines of 998; NUL is allowed nowhere.
    if not text.isascii() or b"\0" in text or max(map(len, text.split(b"\n"))) > 900:
        encoding, text = b"quoted-printable", binascii.b2a_qp(text, istext=True)
    lines = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    head = b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (media.encode(), encoding)
    return head + lines + b"\r\n"


def _returned(header: bytes) -> bytes:
    """The header section to return: whole lines, bounded, without its blank line."""
    if len(header) > MAX_RETURNED_OCTETS:
        header = header[:MAX_RETURNED_OCTETS]
        header = header[: header.rfind(b"\n") + 1]
    return header.rstrip(b"\r\n") + b"\r\n"


def _boundary(boundary: str, parts: Sequence[bytes]) -> bytes:
    """The boundary, made longer until no part has such a line.

    What the other host said and what the sender wrote are in there, and both could guess it.
    """
    mark = re.sub(r"[^A-Za-z0-9_=.-]", "_", boundary)[:60].encode() or b"boundary"
    while any(b"--" + mark in part for part in parts):
        mark += b"="
    return mark
