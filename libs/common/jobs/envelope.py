"""The envelope of a message and the client that gave it (RFC 5321 §2.3.1)."""

from __future__ import annotations

import msgspec


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted RCPT TO; (mail_id, n) is the unit that the ledger accounts for."""

    n: int
    """Ordinal among the accepted recipients of the transaction, from 0."""
    address: str
    """`local-part@domain`, the domain in lower case, as accepted."""
    notify: str = ""
    """NOTIFY, as given (RFC 3461 §4.1)."""
    orcpt: str = ""
    """ORCPT, as given (RFC 3461 §4.2)."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """Reverse-path, recipients and ESMTP parameters."""

    reverse_path: str
    """`local-part@domain`, or the empty string for the null path `<>`."""
    recipients: tuple[Recipient, ...]
    body: str = "7BIT"
    """7BIT, 8BITMIME or BINARYMIME (RFC 6152, RFC 3030)."""
    smtputf8: bool = False
    requiretls: bool = False
    ret: str = ""
    """RET: FULL or HDRS (RFC 3461 §4.3)."""
    envid: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    """All other MAIL parameters as given, for scheduling (MT-PRIORITY, HOLDUNTIL, BY, ...)."""


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who handed us the message, after PROXY and XCLIENT."""

    ip: str = ""
    rdns: str = ""
    helo: str = ""
    protocol: str = "ESMTP"
    """The `with` word of Received: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, LMTP, ... (RFC 3848)."""
    tls: str = ""
    """`TLSv1.3 TLS_AES_256_GCM_SHA384`, or empty for plain text."""
    account: int = 0
    """The authenticated account; 0: nobody logged in."""
    login: str = ""
    """The address of that account."""
