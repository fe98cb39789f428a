"""Named places where a test can make this process fail; nothing at all unless enabled.

`HOLUB_FAILPOINTS=1` enables them.  `HOLUB_FAILPOINTS_FILE` then names a file of lines
`NAME ACTION [once|every|p=0.01]` with ACTION one of kill, exit, raise, stop, sleep:SECONDS.  It
is read again whenever it changes, and every hit is appended to the same path + `.hits`.
`HOLUB_SEEDED_BUG` switches on one of the faults that prove that the judge can fail.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

ENABLED = os.environ.get("HOLUB_FAILPOINTS") == "1"
_SEEDED_BUG = os.environ.get("HOLUB_SEEDED_BUG", "") if ENABLED else ""


class FailpointError(Exception):
    """Raised by the action `raise`: stands for any fault of ours."""


@dataclass(slots=True)
class _Rule:
    action: str
    modifier: str
    spent: bool = False


class _Failpoints:
    """The rules of the file, as they were when it last changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = -1
        self._rules: dict[str, _Rule] = {}

    def action(self, name: str) -> str:
        """What to do at this hit; the empty string: go on."""
        self._load()
        with Path(f"{self._path}.hits").open("a") as hits:
            hits.write(f"{name} {os.getpid()} {time.time():.3f}\n")
        rule = self._rules.get(name)
        if rule is None or rule.spent:
            return ""
        if rule.modifier.startswith("p=") and random.random() >= float(rule.modifier[2:]):
            return ""
        if rule.modifier == "once":
            rule.spent = not self._claim(name)
            if rule.spent:
                return ""
            rule.spent = True
        return rule.action

    def _claim(self, name: str) -> bool:
        """`once` means once for all processes and restarts until the file changes."""
        try:
            os.close(os.open(f"{self._path}.{name}.{self._changed}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _load(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._rules = {}
            return
        if changed != self._changed:
            self._changed = changed
            self._rules = dict(_parse(self._path.read_text()))


def _parse(text: str) -> list[tuple[str, _Rule]]:
    rules = []
    for line in text.splitlines():
        name, action, *modifier = line.split() or ("", "")
        if name:
            rules.append((name, _Rule(action, modifier[0] if modifier else "every")))
    return rules


if ENABLED:
    _failpoints = _Failpoints(Path(os.environ.get("HOLUB_FAILPOINTS_FILE", "/dev/null")))

    async def failpoint(name: str) -> None:
        """A place to fail in a coroutine."""
        action = _failpoints.action(name)
        if action.startswith("sleep:"):
            await asyncio.sleep(float(action[6:]))
        elif action:
            _act(action, name)

    def failpoint_sync(name: str) -> None:
        """A place to fail in a thread."""
        action = _failpoints.action(name)
        if action.startswith("sleep:"):
            time.sleep(float(action[6:]))
        elif action:
            _act(action, name)

else:

    async def failpoint(name: str) -> None:
        """Nothing: failpoints are not enabled."""

    def failpoint_sync(name: str) -> None:
        """Nothing: failpoints are not enabled."""


def _act(action: str, name: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(70)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise FailpointError(name)
        case _:
            raise ValueError(f"unknown failpoint action {action!r} at {name}")


def seeded_bug(name: str) -> bool:
    """True when the process runs with this deliberate fault (only under failpoints)."""
    return name == _SEEDED_BUG
