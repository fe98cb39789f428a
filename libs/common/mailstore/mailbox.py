"""The values that the mail store gives: mailboxes, entries, and what FETCH needs."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.blobstore.protocol import BlobRef


class MailStoreError(Exception):
    """Why not, as the IMAP response code to send (RFC 9051 §7.1) and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"[{code}] {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What IMAP selects."""

    id: int
    account_id: int
    name: str
    uidvalidity: int
    uidnext: int
    highestmodseq: int
    messages: int
    unseen: int
    octets: int
    special_use: str
    subscribed: bool

    @property
    def object_id(self) -> str:
        """The MAILBOXID: kept when renamed, never given to another mailbox (RFC 8474 §4)."""
        return f"F{self.account_id}-{self.uidvalidity}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in a mailbox, as the shared view holds it."""

    uid: int
    mail_id: str
    flags: int
    keywords: str
    modseq: int
    internaldate: float
    size: int
    """Octets that IMAP shows: prefix and content."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What FETCH needs beyond the entry, from rows alone."""

    uid: int
    mail_id: str
    ref: BlobRef
    content_size: int
    prefix: bytes
    header_size: int
    envelope: bytes
    bodystructure: bytes
    body: bytes
    parts: bytes
    preview: str
    savedate: float
    disguised: tuple[int, ...] = ()
    """Where names in the content are shown otherwise."""
