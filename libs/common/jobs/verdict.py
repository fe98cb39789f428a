"""What `filter` concludes of a message."""

from enum import StrEnum


class Verdict(StrEnum):
    """Ascending in severity."""

    ACCEPT = "accept"
    JUNK = "junk"
    QUARANTINE = "quarantine"
    REJECT = "reject"
