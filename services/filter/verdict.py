"""From what the scanners say to a verdict with its reason: pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from libs.common.jobs import Verdict
from libs.common.jobs.verdict import MALWARE
from services.filter.clamd import Scan

MARK = "X-Holub-Unscanned: yes\r\n"
"""The field of a message that is delivered without having been looked at."""
_NOT_LOOKED_AT = {
    "Heuristics.Limits.Exceeded": "it exceeds the scanner's limits",
    "Heuristics.Encrypted": "something in it is encrypted",
}
"""What clamd calls a find (AlertExceedsMax, AlertEncrypted) and is none: it saw nothing bad."""
_UNFIT = re.compile(r"[^!-~]+")
_UNPRINTED = re.compile(r"[^ -~]+")


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A verdict with its reason, fit for a reply and for the trace."""

    verdict: Verdict = Verdict.ACCEPT
    text: str = ""
    prefix: str = ""


NO_SCANNER = Conclusion(Verdict.ACCEPT, "no scanner is configured")
OUR_OWN = Conclusion(Verdict.ACCEPT, "made by us")
CLEAN = Conclusion(Verdict.ACCEPT, "clamd found nothing")


def of_scan(scan: Scan, unscanned: str) -> Conclusion:
    """What a scan means; `unscanned` is the policy for what was not looked at."""
    if scan.too_large:
        return of_unscanned("larger than the scanner takes", unscanned)
    if scan.found:
        # The name comes from a signature file, and goes into an SMTP reply and a log line.
        name = _UNFIT.sub("?", scan.found)[:100]
        for prefix, reason in _NOT_LOOKED_AT.items():
            if name.startswith(prefix):
                return of_unscanned(f"{reason} ({name})", unscanned)
        return Conclusion(Verdict.REJECT, f"{MALWARE}: {name}")
    return CLEAN


def of_unscanned(reason: str, unscanned: str) -> Conclusion:
    """What becomes of a message that can never be scanned: too large is not clean (C2)."""
    if unscanned == "accept-and-mark":
        return Conclusion(Verdict.ACCEPT, f"not scanned: {reason}", MARK)
    return Conclusion(Verdict.QUARANTINE, f"not scanned: {reason}")


def plain(text: str) -> str:
    """A reason with a stranger's words in it, fit for a reply and a log line."""
    return _UNPRINTED.sub("?", text)[:300]
