"""Received fields: writing ours (RFC 5321 §4.4), and counting those of others (§6.3)."""

from __future__ import annotations

import re

from libs.protocols.message.date import format_date
from libs.protocols.message.header import header_end

_LITERAL = re.compile(r"\[[A-Za-z0-9:.]{1,64}\]")
_NOT_NAME = re.compile(r"[^A-Za-z0-9._:-]")
_NOT_TLS = re.compile(r"[^A-Za-z0-9 ._/=-]")
# A quoted local-part may hold spaces; angle brackets and other signs would end the path.
_PATH = re.compile(r"(?:[!-;=?-~]{1,64}|\"[ -;=?-~]{0,62}\")@[A-Za-z0-9.:\[\]_-]{1,255}")
_RECEIVED = re.compile(rb"^received[ \t]*+:", re.MULTILINE | re.IGNORECASE)
_MAX_NAME = 255


def received_field(
    *,
    helo: str,
    rdns: str,
    ip: str,
    by: str,
    protocol: str,
    mail_id: str,
    recipient: str | None,
    at: float,
    tls: str,
) -> bytes:
    """The folded field with its CRLF, in ASCII, whatever the client said in HELO.

    `recipient` goes into the FOR clause; it is left out for None, and for addresses that need
    UTF-8 or do not look like one.  `at` is seconds since 1970, `tls` the protocol and cipher.
    """
    # RFC 5321 §4.1.3: an IPv6 literal has a tag.
    literal = f"[IPv6:{_name(ip)}]" if ":" in ip else f"[{_name(ip)}]"
    peer = f"{_name(rdns)} {literal}" if rdns else literal
    lines = [f"Received: from {_name(helo)} ({peer})"]
    if tls:
        lines.append(f"(using {_NOT_TLS.sub('?', tls)[:_MAX_NAME]})")
    lines.append(f"by {_name(by)} with {_name(protocol)} id {_name(mail_id)}")
    if recipient and _PATH.fullmatch(recipient):
        lines.append(f"for <{recipient}>")
    return "\r\n\t".join([*lines[:-1], lines[-1] + ";", format_date(at)]).encode() + b"\r\n"


def count_received(header_section: bytes) -> int:
    """How many hosts a message says it has been through; for the detection of loops.

    What comes after the first blank line is not counted.
    """
    end = header_end(header_section)
    return sum(1 for _ in _RECEIVED.finditer(header_section, 0, end))


def _name(text: str) -> str:
    """A name or address literal that cannot leave its place in the field."""
    text = text[:_MAX_NAME]
    return text if _LITERAL.fullmatch(text) else _NOT_NAME.sub("?", text) or "unknown"
