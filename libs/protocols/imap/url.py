"""IMAP URLs of messages and of their parts (RFC 5092), as CATENATE and URLAUTH name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from libs.protocols.imap.fetch import Section, parse_section
from libs.protocols.imap.mutf7 import decode_name
from libs.protocols.imap.parse import ParseError

MAX_URL = 4096
_URL = re.compile(
    r"(?:imap://(?:(?P<user>[^;:@/]+)(?:;AUTH=[^@/]+)?@)?(?P<host>[^/]+))?"
    r"/(?P<mailbox>[^;]+?)(?:;UIDVALIDITY=(?P<uidvalidity>[1-9][0-9]{0,9}))?"
    r"/;UID=(?P<uid>[1-9][0-9]{0,9})"
    r"(?:/;SECTION=(?P<section>[^;]+?))?"
    r"(?:/;PARTIAL=(?P<start>[0-9]{1,10})(?:\.(?P<count>[1-9][0-9]{0,9}))?)?"
    r"(?:;EXPIRE=(?P<expire>[0-9TZ:.+-]{10,40}))?"
    r"(?:;URLAUTH=(?P<access>anonymous|authuser|(?:submit|user)\+[^:;]+)"
    r"(?::(?P<mechanism>[A-Za-z0-9.-]+):(?P<token>[0-9A-Fa-f]{32,128}))?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """A message, or a part of it."""

    mailbox: str
    uid: int
    uidvalidity: int | None = None
    section: Section | None = None
    """None: the whole message."""
    start: int = 0
    count: int | None = None
    user: str = ""
    expire: str = ""
    """As it is written; empty: it does not expire."""
    access: str = ""
    """`anonymous`, `authuser`, `submit+NAME` or `user+NAME`; empty: without URLAUTH."""
    mechanism: str = ""
    token: str = ""
    rump: str = ""
    """The URL up to its access, which the token vouches for (RFC 4467 §3)."""


def parse_url(raw: bytes) -> MessageUrl:
    """A URL of this server, absolute or beginning with `/`; raises `ParseError`."""
    text = raw.decode("ascii", "replace")
    found = _URL.fullmatch(text) if len(raw) <= MAX_URL else None
    if found is None:
        raise ParseError("not the URL of a message on this server")
    section = unquote_to_bytes(found["section"]) if found["section"] else b""
    return MessageUrl(
        decode_name(unquote_to_bytes(found["mailbox"])),
        int(found["uid"]),
        int(found["uidvalidity"]) if found["uidvalidity"] else None,
        parse_section(section) if section else None,
        int(found["start"] or 0),
        int(found["count"]) if found["count"] else None,
        unquote_to_bytes(found["user"] or "").decode("utf-8", "replace"),
        found["expire"] or "",
        (found["access"] or "").lower(),
        (found["mechanism"] or "").upper(),
        (found["token"] or "").lower(),
        text[: found.end("access")] if found["access"] else text,
    )
