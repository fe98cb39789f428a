"""SASL servers without I/O (RFC 4422): what a client sent goes in, the next step comes out.

A mechanism is begun with the initial response, or None when the client gave none, and says what is
to be done next (`step`): send a challenge, look something up, or take it as proved.  Base64, line
limits and the words of success are those of the protocol around it: SMTP (RFC 4954), IMAP
(RFC 9051 §6.2.2), POP3 (RFC 5034) and ManageSieve (RFC 5804 §2.1).
"""

from __future__ import annotations

from libs.protocols.sasl.mechanism import ExchangeError, Mechanism, make_mechanism
from libs.protocols.sasl.step import (
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    FindKeys,
    Proved,
    Step,
    Wrong,
)

__all__ = [
    "Challenge",
    "CheckCertificate",
    "CheckPassword",
    "CheckToken",
    "ExchangeError",
    "FindKeys",
    "Mechanism",
    "Proved",
    "Step",
    "Wrong",
    "make_mechanism",
]
