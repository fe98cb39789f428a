"""Mailboxes, UIDs, flags, MODSEQ and quota over rows and blobs.

Lock order in every transaction: accounts ascending, then mailboxes ascending; it is kept
inside of this package.  UIDs and MODSEQs are allocated under the mailbox's row lock and become
visible in that order (RFC 9051 §2.3.1.1, RFC 7162 §3.1).
"""

from libs.common.mailstore.annotations import ACCOUNT
from libs.common.mailstore.flags import Flag, from_names, to_names
from libs.common.mailstore.imported import AppendItem, Brought
from libs.common.mailstore.mailbox import Entry, Mailbox, MailStoreError, Stored
from libs.common.mailstore.store import MailStore

__all__ = [
    "ACCOUNT",
    "AppendItem",
    "Brought",
    "Entry",
    "Flag",
    "MailStore",
    "MailStoreError",
    "Mailbox",
    "Stored",
    "from_names",
    "to_names",
]
