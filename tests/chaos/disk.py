"""A disk that forgets what was never synced, for kill -9 alone cannot show a skipped fsync.

`python -m tests.chaos.disk LOG run ROLE` runs a role and writes down what each fsync made durable:
the size of a file, the entries of a directory.  After everything was killed, `cut` takes away the
rest, as a loss of power may.  An honest store loses nothing by it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _noting(sync: Callable[[int], None], log: int) -> Callable[[int], None]:
    def noted(fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        state = os.fstat(number)
        row: dict[str, Any] = {"inode": state.st_ino, "size": state.st_size}
        if stat.S_ISDIR(state.st_mode):
            with os.scandir(number) as entries:
                row["entries"] = [entry.inode() for entry in entries]
        sync(number)
        # One write of one line: several processes and threads append to the file.
        os.write(log, json.dumps(row).encode() + b"\n")

    return noted


def cut(folder: Path, log: Path) -> tuple[int, int]:
    """Forget what was not synced below `folder`; (files, octets) that were lost."""
    sizes: dict[int, int] = {}
    named: set[int] = set()
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        sizes[row["inode"]] = max(sizes.get(row["inode"], 0), row["size"])
        named.update(row.get("entries", ()))
    files = octets = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        state = path.stat()
        durable = sizes.get(state.st_ino, 0) if state.st_ino in named else 0
        if durable >= state.st_size:
            continue
        octets += state.st_size - durable
        if durable:
            os.truncate(path, durable)
        else:
            files += 1
            path.unlink()
    return files, octets


def main(argv: list[str]) -> None:
    """Run `holub` with every fsync noted."""
    log = os.open(argv[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for name in ("fsync", "fdatasync"):
        setattr(os, name, _noting(getattr(os, name), log))
    # Imported only now, so that no module has the unwrapped functions by name.
    from services.cli.main import main as holub

    sys.argv = ["holub", *argv[1:]]
    holub()


if __name__ == "__main__":
    main(sys.argv[1:])
