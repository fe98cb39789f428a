"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter

from libs.protocols.smtp.reply import Reply

_SCREENED = Counter(
    "holub_ingress_screened_total", "What rules found of strangers.", ["rule", "result"]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule has to say of a client."""

    rule: str
    outcome: str
    """One word, perhaps with what it is about: `pass`, `listed:bl.example`."""
    refusal: Reply | None = None
    """What the client hears where the rule is in force; None: nothing speaks against it."""

    def __str__(self) -> str:
        return f"{self.rule}={self.outcome}"


def against(rule: str, outcome: str, code: int, status: str, text: str) -> Finding:
    """A finding that refuses; the reply names the rule, for both postmasters."""
    return Finding(rule, outcome, Reply(code, status, f"{text} (rule {rule})"))


def count(rule: str, result: str) -> None:
    """`passed`, `noted` or `refused`."""
    _SCREENED.labels(rule, result).inc()
