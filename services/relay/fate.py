"""What an attempt means for one recipient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.relay.reply import Answer


class Result(StrEnum):
    """As the glossary has it."""

    RELAYED = "relayed"
    DEFERRED = "deferred"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class Fate:
    """The result with its reply or our own reason."""

    result: Result
    status: str
    """The enhanced status code (RFC 3463)."""
    text: str
    host: str = ""
    """The host that said it; empty: we decided this ourselves."""
    general: bool = False
    """It is about the destination as a whole, so other mail would fare no better now."""
    reports: bool = False
    """The host took over to report success (it announced DSN)."""

    @property
    def why(self) -> str:
        """For logs, traces and rows."""
        return f"{self.host}: {self.text}" if self.host else self.text


def of_answer(answer: Answer, host: str, *, rcpt: bool = False) -> Fate:
    """2yz, 4yz and 5yz; to RCPT, 552 means too many recipients (RFC 5321 §4.5.3.1.10)."""
    if answer.positive:
        result = Result.RELAYED
    elif answer.permanent and not (rcpt and answer.code == 552):
        result = Result.BOUNCED
    else:
        result = Result.DEFERRED
    return Fate(result, answer.status, str(answer), host)


def deferred(status: str, text: str, host: str = "", *, general: bool = False) -> Fate:
    """Try again later."""
    return Fate(Result.DEFERRED, status, text, host, general)


def bounced(status: str, text: str, host: str = "") -> Fate:
    """Never try again."""
    return Fate(Result.BOUNCED, status, text, host)
