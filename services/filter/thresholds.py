"""From a score to a verdict: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer
from pydantic_settings import NoDecode

from libs.common.jobs import Verdict

_VERDICTS = (Verdict.JUNK, Verdict.QUARANTINE, Verdict.REJECT)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lowest scores of the verdicts; None: there is no such verdict."""

    junk: float | None = None
    quarantine: float | None = None
    reject: float | None = None

    @classmethod
    def parse(cls, text: str) -> Thresholds:
        """Read `junk=6,reject=15`; empty: whatever the score, nothing follows.  `ValueError`."""
        found: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = part.partition("=")
            if name not in _VERDICTS or name in found:
                raise ValueError(f"write junk=N,quarantine=N,reject=N, each once, not {part!r}")
            found[name] = float(number)
            if not isfinite(found[name]):
                raise ValueError(f"{name} needs a number")
        points = [found[name] for name in _VERDICTS if name in found]
        if points != sorted(points):
            raise ValueError("the milder verdict needs the lower score")
        return cls(**found)

    def verdict(self, points: float) -> Verdict:
        """What a score means."""
        levels = zip(_VERDICTS, (self.junk, self.quarantine, self.reject), strict=True)
        reached = [verdict for verdict, least in levels if least is not None and points >= least]
        return reached[-1] if reached else Verdict.ACCEPT

    def __str__(self) -> str:
        """As `parse` reads it."""
        levels = zip(_VERDICTS, (self.junk, self.quarantine, self.reject), strict=True)
        return ",".join(f"{name}={least:g}" for name, least in levels if least is not None)


def _read(given: object) -> Thresholds:
    return given if isinstance(given, Thresholds) else Thresholds.parse(str(given))


Scores = Annotated[Thresholds, NoDecode, BeforeValidator(_read), PlainSerializer(str)]
"""Thresholds as a setting."""
