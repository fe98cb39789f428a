"""What `filter` concludes of a message."""

from enum import StrEnum

MALWARE = "message contains malware"
"""How the reason begins when it is that; only administrators may release such mail."""


class Verdict(StrEnum):
    """Ascending in severity."""

    ACCEPT = "accept"
    JUNK = "junk"
    QUARANTINE = "quarantine"
    REJECT = "reject"
