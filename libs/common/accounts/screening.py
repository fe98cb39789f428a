"""What a domain wants of the checks of strangers before DATA: the words, for ingress and API."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

RULES = ("early_talk", "pipelining", "dnsbl", "iprev", "helo", "greylist")
"""The checks that a domain may choose for itself; `services.ingress.screen` has them."""


class Mode(StrEnum):
    """What follows when a check speaks against a client."""

    OFF = "off"
    """It is not asked."""
    NOTE = "note"
    """The trace shows it, and nothing else happens."""
    REFUSE = "refuse"
    """The recipient is refused."""


def parse_choices(text: str) -> Mapping[str, Mode]:
    """`dnsbl=note, greylist=refuse`; a `ValueError` names what is wrong."""
    return dict(_choice(part.strip()) for part in text.split(",") if part.strip())


def _choice(part: str) -> tuple[str, Mode]:
    rule, _, mode = part.partition("=")
    if rule not in RULES:
        raise ValueError(f"{rule!r} is none of the rules {', '.join(RULES)}")
    if mode not in list(Mode):
        raise ValueError(f"{rule}={mode}: write one of {', '.join(Mode)} after the equals sign")
    return rule, Mode(mode)
