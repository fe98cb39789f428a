"""The failpoints of the product: which there are, arming them, and which were hit."""

from __future__ import annotations

import re
from pathlib import Path

_CALL = re.compile(r"""failpoint(?:_sync)?\(\s*["']([a-z0-9_.]+)["']""")


_OF_THEIR_OWN = ("gc", "rescan")
"""Passed on demand, by work that has a test of its own which kills it at each step; to wait in a
chaos round for mail to pass them would take minutes."""


def discover(root: Path, *, embedded: bool = True, s3: bool = True) -> list[str]:
    """The names of all failpoints, sorted.

    Those in SQLite's backends are passed by an `embedded` platform only, and those in the S3
    store by one that keeps its blobs there.
    """
    names: set[str] = set()
    for folder in ("services", "libs"):
        for path in (root / folder).rglob("*.py"):
            # The one file that defines them names one in its documentation.
            other = ("sqlite" in path.name and not embedded) or (path.stem == "s3" and not s3)
            if path.name != "failpoint.py" and not other:
                names.update(_CALL.findall(path.read_text()))
    return sorted(names)


def in_the_flow(names: list[str]) -> list[str]:
    """Those of them that mail passes on its way."""
    return [name for name in names if name.split(".")[0] not in _OF_THEIR_OWN]


class Failpoints:
    """The control file that all roles read, and what they wrote beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("")

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process read the file."""
        return {"HOLUB_FAILPOINTS": "1", "HOLUB_FAILPOINTS_FILE": str(self._path)}

    def arm(self, *rules: str) -> None:
        """Replace the rules, e.g. `ingress.after_put kill once`; none: disarm all."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(f"{rule}\n" for rule in rules))
        # A rename, so that nobody reads half of it.
        fresh.rename(self._path)

    def fired(self, name: str) -> int:
        """How often a `once` rule of this name took effect, over the whole run."""
        return len(list(self._path.parent.glob(f"{self._path.name}.{name}.*")))

    def hits(self) -> dict[str, int]:
        """How often each failpoint was passed."""
        counts: dict[str, int] = {}
        hits = Path(f"{self._path}.hits")
        for line in hits.read_text().splitlines() if hits.exists() else ():
            name = line.split(" ", 1)[0]
            counts[name] = counts.get(name, 0) + 1
        return counts
