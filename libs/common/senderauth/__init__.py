"""Who sent it: SPF, DKIM, DMARC, ARC, iprev, and the Authentication-Results field.

Checks take a `Resolver` and say what they found; nothing here decides what becomes of a message.
Signing takes the exact octets that go out::

    signer = Signer.load("example.org", "mail2026", pem)
    content = dkim_fields(content, [signer], int(time.time())) + content

Standards  RFC 7208 (SPF), RFC 6376, 8301, 8463 (DKIM), RFC 9989 (DMARC), RFC 8617 (ARC),
           RFC 8601 (Authentication-Results, iprev)
"""

from libs.common.senderauth.arc import ArcResult, seal, verify_arc
from libs.common.senderauth.dkim import DkimResult, verify_dkim
from libs.common.senderauth.dmarc import DmarcResult, check_dmarc
from libs.common.senderauth.iprev import IprevResult, check_iprev
from libs.common.senderauth.sign import Signer, dkim_fields
from libs.common.senderauth.signed import BodyHash, SignedMessage
from libs.common.senderauth.spf import SpfResult, check_spf

__all__ = [
    "ArcResult",
    "BodyHash",
    "DkimResult",
    "DmarcResult",
    "IprevResult",
    "SignedMessage",
    "Signer",
    "SpfResult",
    "check_dmarc",
    "check_iprev",
    "check_spf",
    "dkim_fields",
    "seal",
    "verify_arc",
    "verify_dkim",
]
